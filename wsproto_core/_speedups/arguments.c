/* Arguments of the functions and methods. */

#include "arguments.h"

#include <string.h>

void
release_bytes(struct bytes_argument *argument)
{
    Py_XDECREF(argument->bytes);
    if (argument->view.obj != NULL) {
        PyBuffer_Release(&argument->view);
    }
}

static void
use_bytes(struct bytes_argument *argument, PyObject *bytes)
{
    argument->bytes = bytes;
    argument->data = (const uint8_t *)PyBytes_AS_STRING(bytes);
    argument->length = (size_t)PyBytes_GET_SIZE(bytes);
}

int
get_bytes(PyObject *object, struct bytes_argument *argument)
{
    argument->bytes = NULL;
    argument->view.obj = NULL;
    if (PyBytes_CheckExact(object)) {
        use_bytes(argument, Py_NewRef(object));
        return 0;
    }
    if (PyObject_GetBuffer(object, &argument->view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    argument->data = argument->view.buf;
    argument->length = (size_t)argument->view.len;
    return 0;
}

int
get_text_or_bytes(PyObject *object, struct bytes_argument *argument)
{
    if (!PyUnicode_Check(object)) {
        return get_bytes(object, argument);
    }
    argument->bytes = NULL;
    argument->view.obj = NULL;
    if (PyUnicode_IS_COMPACT_ASCII(object)) {
        argument->data = PyUnicode_1BYTE_DATA(object);
        argument->length = (size_t)PyUnicode_GET_LENGTH(object);
        return 0;
    }
    PyObject *encoded = PyUnicode_AsUTF8String(object);
    if (encoded == NULL) {
        return -1;
    }
    use_bytes(argument, encoded);
    return 0;
}

bool
check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (least <= count && count <= most) {
        return true;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", function, most, count);
    return false;
}

int
read_key(PyObject *object, uint32_t *key)
{
    struct bytes_argument bytes;
    if (get_bytes(object, &bytes) < 0) {
        return -1;
    }
    int result = 0;
    if (bytes.length == 4) {
        memcpy(key, bytes.data, 4);
    } else {
        PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zu", bytes.length);
        result = -1;
    }
    release_bytes(&bytes);
    return result;
}

uint64_t
read_limit(PyObject *limit)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(limit, &overflow);
    return overflow > 0 ? UINT64_MAX : (uint64_t)value;
}
