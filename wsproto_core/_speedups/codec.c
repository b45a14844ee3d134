/* The functions of wsproto_core/codec.py, which documents them and is their specification. */

#include "frame.h"
#include "mask.h"
#include "state.h"

#include <string.h>

/* Read a masking key; -1 with an exception set if it has not four bytes. */
static int
read_key(PyObject *object, uint32_t *key)
{
    Py_buffer view;
    if (PyObject_GetBuffer(object, &view, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    int result = 0;
    if (view.len == 4) {
        memcpy(key, view.buf, 4);
    } else {
        PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zd", view.len);
        result = -1;
    }
    PyBuffer_Release(&view);
    return result;
}

static PyObject *
apply_mask(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    uint32_t key;
    if (count != 2) {
        return PyErr_Format(PyExc_TypeError, "apply_mask takes 2 arguments, not %zd", count);
    }
    if (read_key(arguments[1], &key) < 0) {
        return NULL;
    }
    Py_buffer data;
    if (PyObject_GetBuffer(arguments[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *masked = PyBytes_FromStringAndSize(NULL, data.len);
    if (masked != NULL) {
        mask_copy((uint8_t *)PyBytes_AS_STRING(masked), data.buf, (size_t)data.len, key);
    }
    PyBuffer_Release(&data);
    return masked;
}

static PyMethodDef functions[] = {
    {
        "apply_mask",
        (PyCFunction)(void (*)(void))apply_mask,
        METH_FASTCALL,
        "apply_mask($module, data, key, /)\n--\n\n"
        "Mask or unmask ``data`` with the four bytes of ``key`` (RFC 6455 section 5.3).",
    },
    {NULL, NULL, 0, NULL},
};

int
add_codec(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
