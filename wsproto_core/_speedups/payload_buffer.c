/* The payload of the message under construction: PayloadBuffer of wsproto_core/assembly.py, which documents
   it and is its specification. */

#include "payload_buffer.h"

#include "arguments.h"
#include "mask.h"
#include "state.h"
#include "text.h"

#include <string.h>

/* Bytes that are reserved at least, if so many are wanted. */
#define LEAST_RESERVED 131072

/* The object under construction */

static uint8_t *
bytes_of(struct payload_buffer *buffer)
{
    return buffer->ascii ? PyUnicode_1BYTE_DATA(buffer->object)
                         : (uint8_t *)PyBytes_AS_STRING(buffer->object);
}

static PyObject *
new_object(bool ascii, size_t size)
{
    PyObject *object = ascii ? PyUnicode_New((Py_ssize_t)size, 127)
                             : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
#ifdef Py_DEBUG
    /* It checks that a str of ASCII that is resized has nothing else in it. */
    if (ascii && object != NULL && size != 0) {
        memset(PyUnicode_1BYTE_DATA(object), 0, size);
    }
#endif
    return object;
}

/* Forget the object. */
static void
clear(struct payload_buffer *buffer)
{
    Py_CLEAR(buffer->object);
    buffer->capacity = buffer->used = buffer->reserved = 0;
    buffer->ascii = buffer->text;
}

/* Replace the object by another one, with the first `used` bytes of it. */
static int
replace_object(struct payload_buffer *buffer, bool ascii, size_t capacity)
{
    PyObject *object = new_object(ascii, capacity);
    if (object == NULL) {
        return -1;
    }
    PyObject *former = buffer->object;
    const uint8_t *payload = former == NULL ? NULL : bytes_of(buffer);
    buffer->object = object;
    buffer->ascii = ascii;
    buffer->capacity = capacity;
    if (buffer->used > 0) {
        memcpy(bytes_of(buffer), payload, buffer->used);
    }
    Py_XDECREF(former);
    return 0;
}

static int
set_capacity(struct payload_buffer *buffer, size_t capacity)
{
    /* An object to which there are other references, those of a window, cannot be moved. */
    bool movable = buffer->object != NULL && Py_REFCNT(buffer->object) == 1;
#ifdef Py_DEBUG
    movable = false;
#endif
    if (!movable) {
        return replace_object(buffer, buffer->ascii, capacity);
    }
    int result = buffer->ascii ? PyUnicode_Resize(&buffer->object, (Py_ssize_t)capacity)
                               : _PyBytes_Resize(&buffer->object, (Py_ssize_t)capacity);
    if (result < 0) {
        clear(buffer);
        return -1;
    }
    buffer->capacity = capacity;
    return 0;
}

/* Make room for so many bytes more: twice the room there was, or what is needed. If it is known how many bytes
   follow as the last ones, there is no room beyond them, and nothing to cut off at the end. */
static int
make_room(struct payload_buffer *buffer, size_t length, uint64_t rest)
{
    if (length <= buffer->capacity - buffer->used && buffer->object != NULL) {
        return 0;
    }
    if (length > (size_t)PY_SSIZE_T_MAX / 4 - buffer->used) {
        PyErr_NoMemory();
        return -1;
    }
    size_t needed = buffer->used + length;
    size_t capacity = needed < 2 * buffer->capacity ? 2 * buffer->capacity : needed;
    if (rest > 0 && capacity - needed > rest) {
        capacity = needed + (size_t)rest;
    }
    return set_capacity(buffer, capacity);
}

/* Give the object away, cut to what is used. */
static PyObject *
hand_over(struct payload_buffer *buffer)
{
    if ((buffer->object == NULL || buffer->used < buffer->capacity)
        && set_capacity(buffer, buffer->used) < 0) {
        return NULL;
    }
    PyObject *object = Py_NewRef(buffer->object);
    clear(buffer);
    return object;
}

/* UTF-8 */

/* Raise the exception of Python's decoder for text of which the bytes in `before` are the beginning of a
   character, and in which `data` follows, or the end. */
static void
raise_not_utf8(const struct utf8_state *before, const uint8_t *data, size_t length, bool end)
{
    size_t size = before->seen + length;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) {
        return;
    }
    char *start = PyBytes_AS_STRING(bytes);
    memcpy(start, before->bytes, before->seen);
    if (length > 0) {
        memcpy(start + before->seen, data, length);
    }
    Py_ssize_t consumed;
    PyObject *text = PyUnicode_DecodeUTF8Stateful(start, (Py_ssize_t)size, NULL, end ? NULL : &consumed);
    if (text != NULL) {
        /* Python's decoder waits for the third byte of a surrogate, in case that surrogates are let pass. */
        PyObject *error = PyUnicodeDecodeError_Create("utf-8", start + consumed, (Py_ssize_t)size - consumed, 0,
                                                      2, "surrogates are no characters");
        if (error != NULL) {
            PyErr_SetObject(PyExc_UnicodeDecodeError, error);
            Py_DECREF(error);
        }
        Py_DECREF(text);
    }
    Py_DECREF(bytes);
}

size_t
payload_size(const struct payload_buffer *buffer)
{
    return buffer->used - (buffer->used < buffer->utf8.seen ? buffer->used : buffer->utf8.seen);
}

/* Check the bytes that follow those that are used, and count them as used. */
static int
accept(struct payload_buffer *buffer, size_t length, bool top_bit)
{
    if (buffer->text && (top_bit || buffer->utf8.expected != 0)) {
        const struct utf8_state before = buffer->utf8;
        const uint8_t *data = bytes_of(buffer) + buffer->used;
        if (!utf8_check(&buffer->utf8, data, length)) {
            raise_not_utf8(&before, data, length, false);
            /* What is here is what was valid. */
            buffer->utf8 = before;
            return -1;
        }
    }
    buffer->used += length;
    if (buffer->dropped) {
        clear(buffer);
    } else if (buffer->ascii && top_bit) {
        return replace_object(buffer, false, buffer->capacity);
    }
    return 0;
}

/* What the buffer does */

int
payload_add(struct payload_buffer *buffer, const uint8_t *data, size_t length, uint32_t key, uint64_t rest)
{
    buffer->reserved = 0;
    if (length == 0) {
        return 0;
    }
    if (make_room(buffer, length, rest) < 0) {
        return -1;
    }
    return accept(buffer, length, mask_copy(bytes_of(buffer) + buffer->used, data, length, key));
}

uint8_t *
payload_reserve(struct payload_buffer *buffer, size_t length)
{
    size_t most = buffer->used < LEAST_RESERVED ? LEAST_RESERVED : buffer->used;
    length = length < most ? length : most;
    size_t room = buffer->capacity - buffer->used;
    if ((room == 0 || buffer->object == NULL || room < length)
        && set_capacity(buffer, buffer->used + length) < 0) {
        return NULL;
    }
    buffer->reserved = length;
    return bytes_of(buffer) + buffer->used;
}

int
payload_commit(struct payload_buffer *buffer, size_t length, uint32_t key)
{
    if (length > buffer->reserved) {
        PyErr_Format(PyExc_ValueError, "%zu bytes were reserved, not %zu", buffer->reserved, length);
        return -1;
    }
    buffer->reserved = 0;
    if (length == 0) {
        return 0;
    }
    uint8_t *payload = bytes_of(buffer) + buffer->used;
    return accept(buffer, length, mask_copy(payload, payload, length, key));
}

PyObject *
payload_finish(struct payload_buffer *buffer)
{
    if (buffer->utf8.expected != 0) {
        raise_not_utf8(&buffer->utf8, NULL, 0, true);
        return NULL;
    }
    if (buffer->ascii == buffer->text || buffer->object == NULL) {
        return hand_over(buffer);
    }
    PyObject *text = text_from_valid(bytes_of(buffer), buffer->used);
    if (text != NULL) {
        clear(buffer);
    }
    return text;
}

static PyObject *
take(struct payload_buffer *buffer)
{
    size_t size = payload_size(buffer);
    if (size == 0) {
        Py_RETURN_NONE;
    }
    if (buffer->utf8.expected == 0) {
        return payload_finish(buffer);
    }
    PyObject *text = text_from_valid(bytes_of(buffer), size);
    if (text == NULL) {
        return NULL;
    }
    /* What is there of the last character stays. */
    clear(buffer);
    if (replace_object(buffer, false, buffer->utf8.seen) < 0) {
        Py_DECREF(text);
        return NULL;
    }
    memcpy(bytes_of(buffer), buffer->utf8.bytes, buffer->utf8.seen);
    buffer->used = buffer->utf8.seen;
    return text;
}

/* Methods: each with the lock of the buffer, and with the arguments of METH_FASTCALL */

static PyObject *
method_add(struct payload_buffer *buffer, PyObject *const *arguments, Py_ssize_t count)
{
    struct bytes_argument data;
    uint32_t key = 0;
    if (!check_count("add", count, 3, 5)) {
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(arguments[1]);
    Py_ssize_t stop = PyLong_AsSsize_t(arguments[2]);
    int masked = count > 3 ? PyObject_IsTrue(arguments[3]) : 0;
    uint64_t rest = count > 4 ? read_limit(arguments[4]) : 0;
    if (PyErr_Occurred() || (masked && read_key(arguments[3], &key) < 0) || get_bytes(arguments[0], &data) < 0) {
        return NULL;
    }
    int result = -1;
    if (start < 0 || stop < start || (size_t)stop > data.length) {
        PyErr_Format(PyExc_ValueError, "there are no bytes from %zd to %zd", start, stop);
    } else {
        result = payload_add(buffer, data.data + start, (size_t)(stop - start), key, rest);
    }
    release_bytes(&data);
    return result < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
method_take(struct payload_buffer *buffer, PyObject *const *Py_UNUSED(arguments), Py_ssize_t count)
{
    return check_count("take", count, 0, 0) ? take(buffer) : NULL;
}

static PyObject *
method_finish(struct payload_buffer *buffer, PyObject *const *Py_UNUSED(arguments), Py_ssize_t count)
{
    return check_count("finish", count, 0, 0) ? payload_finish(buffer) : NULL;
}

static PyObject *
method_drop(struct payload_buffer *buffer, PyObject *const *Py_UNUSED(arguments), Py_ssize_t count)
{
    if (!check_count("drop", count, 0, 0)) {
        return NULL;
    }
    buffer->dropped = true;
    if (buffer->reserved == 0) {
        clear(buffer);
    }
    Py_RETURN_NONE;
}

static PyObject *
method_commit(struct payload_buffer *buffer, PyObject *const *arguments, Py_ssize_t count)
{
    uint32_t key = 0;
    if (!check_count("commit", count, 1, 2)) {
        return NULL;
    }
    Py_ssize_t length = PyLong_AsSsize_t(arguments[0]);
    int masked = count == 2 ? PyObject_IsTrue(arguments[1]) : 0;
    if (PyErr_Occurred() || (masked && read_key(arguments[1], &key) < 0)) {
        return NULL;
    }
    /* A negative number becomes one that is greater than what is reserved. */
    return payload_commit(buffer, (size_t)length, key) < 0 ? NULL : Py_NewRef(Py_None);
}

/* Windows: what a memoryview of reserved bytes refers to. It keeps the object alive, which is not moved as long
   as the view exists. */

struct window {
    PyObject_HEAD
    PyObject *object;
    uint8_t *start;
    size_t length;
};

static int
window_get_buffer(PyObject *self, Py_buffer *view, int flags)
{
    struct window *window = (struct window *)self;
    return PyBuffer_FillInfo(view, self, window->start, (Py_ssize_t)window->length, 0, flags);
}

static void
window_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct window *)self)->object);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyType_Slot window_slots[] = {
    {Py_bf_getbuffer, window_get_buffer},
    {Py_tp_dealloc, window_dealloc},
    {0, NULL},
};

static PyType_Spec window_spec = {
    .name = "wsproto_core._speedups._compiled.Window",
    .basicsize = sizeof(struct window),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = window_slots,
};

static PyObject *
method_reserve(struct payload_buffer *buffer, PyObject *const *arguments, Py_ssize_t count)
{
    if (!check_count("reserve", count, 1, 1)) {
        return NULL;
    }
    Py_ssize_t length = PyLong_AsSsize_t(arguments[0]);
    if (length <= 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "the size is not positive");
    }
    struct module_state *state = PyType_GetModuleState(Py_TYPE(buffer));
    uint8_t *start = payload_reserve(buffer, (size_t)length);
    if (start == NULL) {
        return NULL;
    }
    struct window *window = PyObject_New(struct window, (PyTypeObject *)state->window_type);
    if (window == NULL) {
        return NULL;
    }
    window->object = Py_NewRef(buffer->object);
    window->start = start;
    window->length = buffer->reserved;
    PyObject *view = PyMemoryView_FromObject((PyObject *)window);
    Py_DECREF(window);
    return view;
}

/* The type */

static PyObject *
payload_buffer_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    int text;
    if (keywords != NULL && PyDict_GET_SIZE(keywords) > 0) {
        return PyErr_Format(PyExc_TypeError, "PayloadBuffer() takes no keyword arguments");
    }
    if (!PyArg_ParseTuple(arguments, "p:PayloadBuffer", &text)) {
        return NULL;
    }
    struct payload_buffer *buffer = (struct payload_buffer *)type->tp_alloc(type, 0);
    if (buffer != NULL) {
        buffer->text = buffer->ascii = text;
    }
    return (PyObject *)buffer;
}

static void
payload_buffer_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(((struct payload_buffer *)self)->object);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
get_size(PyObject *self, void *Py_UNUSED(closure))
{
    size_t size;
    Py_BEGIN_CRITICAL_SECTION(self);
    size = payload_size((struct payload_buffer *)self);
    Py_END_CRITICAL_SECTION();
    return PyLong_FromSize_t(size);
}

#define DEFINE_LOCKED(name)                                                          \
    static PyObject *locked_##name(PyObject *self, PyObject *const *arguments,       \
                                   Py_ssize_t count)                                 \
    {                                                                                \
        PyObject *result;                                                            \
        Py_BEGIN_CRITICAL_SECTION(self);                                             \
        result = method_##name((struct payload_buffer *)self, arguments, count);     \
        Py_END_CRITICAL_SECTION();                                                   \
        return result;                                                               \
    }

DEFINE_LOCKED(add)
DEFINE_LOCKED(take)
DEFINE_LOCKED(finish)
DEFINE_LOCKED(drop)
DEFINE_LOCKED(reserve)
DEFINE_LOCKED(commit)

#define METHOD(name, text)                                                          \
    {                                                                               \
        #name, (PyCFunction)(void (*)(void))locked_##name, METH_FASTCALL, text      \
    }

static PyMethodDef methods[] = {
    METHOD(add, "add($self, data, start, stop, key=b'', rest=0, /)\n--\n\nAdd a piece of payload."),
    METHOD(take, "take($self, /)\n--\n\nTake what is there."),
    METHOD(finish, "finish($self, /)\n--\n\nReturn the message, or what has not been taken of it."),
    METHOD(drop, "drop($self, /)\n--\n\nDrop what is there, and only check what comes."),
    METHOD(reserve, "reserve($self, size, /)\n--\n\nReturn memory into which payload can be written."),
    METHOD(commit, "commit($self, count, key=b'', /)\n--\n\nAdd bytes that were written into it."),
    {NULL, NULL, 0, NULL},
};

static PyObject *
get_dropped(PyObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((struct payload_buffer *)self)->dropped);
}

static PyGetSetDef attributes[] = {
    {"size", get_size, NULL, "Bytes that have been added and can be taken.", NULL},
    {"dropped", get_dropped, NULL, "Whether the message will not be delivered.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot payload_buffer_slots[] = {
    {Py_tp_doc, "PayloadBuffer(text, /)\n--\n\nThe payload of a message under construction."},
    {Py_tp_new, payload_buffer_new},
    {Py_tp_dealloc, payload_buffer_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, attributes},
    {0, NULL},
};

static PyType_Spec payload_buffer_spec = {
    .name = "wsproto_core._speedups._compiled.PayloadBuffer",
    .basicsize = sizeof(struct payload_buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = payload_buffer_slots,
};

int
add_payload_buffer(PyObject *module)
{
    struct module_state *state = state_of(module);
    state->window_type = PyType_FromModuleAndSpec(module, &window_spec, NULL);
    state->payload_buffer_type = PyType_FromModuleAndSpec(module, &payload_buffer_spec, NULL);
    if (state->window_type == NULL || state->payload_buffer_type == NULL) {
        return -1;
    }
    return PyModule_AddType(module, (PyTypeObject *)state->payload_buffer_type);
}
