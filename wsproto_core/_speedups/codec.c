/* The functions of wsproto_core/codec.py, which documents them and is their specification. */

#include "codec.h"

#include "arguments.h"
#include "frame.h"
#include "mask.h"
#include "text.h"

#include <string.h>

static PyObject *
mask_to_bytes(const uint8_t *data, size_t length, uint32_t key)
{
    PyObject *masked = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)length);
    if (masked != NULL) {
        mask_copy((uint8_t *)PyBytes_AS_STRING(masked), data, length, key);
    }
    return masked;
}

/* apply_mask */

static PyObject *
py_apply_mask(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    uint32_t key;
    struct bytes_argument data;
    if (!check_count("apply_mask", count, 2, 2)) {
        return NULL;
    }
    if (read_key(arguments[1], &key) < 0 || get_bytes(arguments[0], &data) < 0) {
        return NULL;
    }
    PyObject *masked = mask_to_bytes(data.data, data.length, key);
    release_bytes(&data);
    return masked;
}

/* decode_messages */

/* Unmask a text; NULL without an exception if it is not UTF-8.

   Nearly every text is ASCII: it is unmasked into what becomes the str, and only decoded if that turns out
   wrong. */
static PyObject *
decode_text(const uint8_t *data, size_t length, uint32_t key)
{
    PyObject *text = PyUnicode_New((Py_ssize_t)length, 127);
    if (text == NULL) {
        return NULL;
    }
    uint8_t *unmasked = PyUnicode_1BYTE_DATA(text);
    if (!mask_copy(unmasked, data, length, key)) {
        return text;
    }
    PyObject *decoded = text_from_utf8(unmasked, length);
    Py_DECREF(text);
    return decoded;
}

int
append_message(struct module_state *state, PyObject *messages, PyObject *message, uint64_t size)
{
    PyObject *item = PyTuple_New(2);
    PyObject *size_object = PyLong_FromUnsignedLongLong(size);
    if (item == NULL || size_object == NULL) {
        Py_DECREF(message);
        Py_XDECREF(item);
        Py_XDECREF(size_object);
        return -1;
    }
    PyTuple_SET_ITEM(item, 0, message);
    PyTuple_SET_ITEM(item, 1, size_object);
    PyObject *arguments[] = {messages, item};
    PyObject *none = PyObject_Vectorcall(state->deque_append, arguments, 2, NULL);
    Py_DECREF(item);
    Py_XDECREF(none);
    return none == NULL ? -1 : 0;
}

/* Decompress a message, and set its size. NULL without an exception if the extension leaves it to the reader in
   Python. */
static PyObject *
decompress(struct module_state *state, PyObject *extension, const uint8_t *payload, size_t length, uint32_t key,
           bool text, uint64_t max_length, uint64_t *size)
{
    PyObject *data = mask_to_bytes(payload, length, key), *limit;
    limit = PyLong_FromUnsignedLongLong(Py_MIN(max_length, DECOMPRESSED_AT_ONCE));
    PyObject *found = NULL, *message = NULL;
    if (data != NULL && limit != NULL) {
        PyObject *arguments[] = {extension, data, text ? Py_True : Py_False, limit};
        found = PyObject_VectorcallMethod(state->name_decode_whole, arguments, 4, NULL);
    }
    Py_XDECREF(data);
    Py_XDECREF(limit);
    if (found != NULL && found != Py_None) {
        PyObject *first;
        unsigned long long bytes;
        if (!PyTuple_Check(found)) {
            PyErr_Format(PyExc_TypeError, "decode_whole must return a tuple or None, not %.100s",
                         Py_TYPE(found)->tp_name);
        } else if (PyArg_ParseTuple(found, "OK", &first, &bytes)) {
            message = Py_NewRef(first);
            *size = bytes;
        }
    }
    Py_XDECREF(found);
    return message;
}

int
decode_messages(struct module_state *state, const uint8_t *data, size_t length, bool masked,
                uint64_t max_length, PyObject *messages, PyObject *extension, struct decoded *decoded)
{
    const uint8_t text = FRAME_FIN | OPCODE_TEXT, binary = FRAME_FIN | OPCODE_BINARY;
    while (decoded->position < length) {
        const uint8_t *frame = data + decoded->position;
        size_t available = length - decoded->position;
        struct frame_header header;
        bool compressed = frame[0] & FRAME_RSV1;
        uint8_t first = frame[0] & ~FRAME_RSV1;
        if ((first != text && first != binary)
            || (compressed && (extension == Py_None || decoded->size >= DECOMPRESSED_AT_ONCE))) {
            break;
        }
        if (parse_header(frame, available, &header) != HEADER_COMPLETE || header.masked != masked
            || header.length > available - header.size || header.length > max_length) {
            break;
        }
        const uint8_t *payload = frame + header.size;
        size_t payload_length = (size_t)header.length;
        uint64_t size = header.length;
        PyObject *message;
        if (compressed) {
            message = decompress(state, extension, payload, payload_length, header.key, first == text, max_length,
                                 &size);
        } else if (first == text) {
            message = decode_text(payload, payload_length, header.key);
        } else {
            message = mask_to_bytes(payload, payload_length, header.key);
        }
        if (message == NULL) {
            return PyErr_Occurred() ? -1 : 0;
        }
        size += MESSAGE_OVERHEAD;
        if (append_message(state, messages, message, size) < 0) {
            return -1;
        }
        decoded->size += size;
        decoded->count += 1;
        decoded->position += header.size + payload_length;
    }
    return 0;
}

static PyObject *
py_decode_messages(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!check_count("decode_messages", count, 5, 6)) {
        return NULL;
    }
    PyObject *data = arguments[0];
    if (!PyBytes_Check(data)) {
        return PyErr_Format(PyExc_TypeError, "data must be bytes, not %.100s", Py_TYPE(data)->tp_name);
    }
    Py_ssize_t position = PyLong_AsSsize_t(arguments[1]);
    if (position < 0) {
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "the position is negative");
    }
    int masked = PyObject_IsTrue(arguments[2]);
    uint64_t max_length = masked < 0 ? 0 : read_limit(arguments[3]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    struct decoded decoded = {.position = (size_t)position};
    PyObject *extension = count == 6 ? arguments[5] : Py_None;
    if (decode_messages(PyModule_GetState(module), (const uint8_t *)PyBytes_AS_STRING(data),
                        (size_t)PyBytes_GET_SIZE(data), masked, max_length, arguments[4], extension, &decoded)
        < 0) {
        return NULL;
    }
    return Py_BuildValue("nK", (Py_ssize_t)decoded.position, (unsigned long long)decoded.size);
}

/* encode_frame */

PyObject *
join_frame(uint8_t first, const uint8_t *payload, size_t length, bool masked, uint32_t key)
{
    uint8_t header[FRAME_HEADER_MAX];
    size_t header_size = encode_header(header, first, length, masked, key);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(header_size + length));
    if (frame == NULL) {
        return NULL;
    }
    uint8_t *out = (uint8_t *)PyBytes_AS_STRING(frame);
    memcpy(out, header, header_size);
    if (masked) {
        mask_copy(out + header_size, payload, length, key);
    } else {
        memcpy(out + header_size, payload, length);
    }
    return frame;
}

/* Return the payload of a frame as a buffer of its own: a copy only if it has to be one. */
static PyObject *
payload_to_bytes(const struct bytes_argument *payload, bool masked, uint32_t key)
{
    if (masked) {
        return mask_to_bytes(payload->data, payload->length, key);
    }
    if (payload->bytes != NULL) {
        return Py_NewRef(payload->bytes);
    }
    return PyBytes_FromStringAndSize((const char *)payload->data, (Py_ssize_t)payload->length);
}

/* Append a buffer to a list; takes the reference to it, which may be NULL. */
static int
append_buffer(PyObject *buffers, PyObject *buffer)
{
    int result = buffer == NULL ? -1 : PyList_Append(buffers, buffer);
    Py_XDECREF(buffer);
    return result;
}

Py_ssize_t
append_frame(PyObject *buffers, uint8_t first, PyObject *message, bool masked, uint32_t key)
{
    struct bytes_argument payload;
    if (get_text_or_bytes(message, &payload) < 0) {
        return -1;
    }
    uint8_t header[FRAME_HEADER_MAX];
    size_t size = encode_header(header, first, payload.length, masked, key);
    Py_ssize_t result = (Py_ssize_t)(size + payload.length);
    if (payload.length < COPY_BELOW) {
        if (append_buffer(buffers, join_frame(first, payload.data, payload.length, masked, key)) < 0) {
            result = -1;
        }
    } else {
        PyObject *rest = payload_to_bytes(&payload, masked, key);
        if (rest == NULL
            || append_buffer(buffers, PyBytes_FromStringAndSize((const char *)header, (Py_ssize_t)size)) < 0
            || PyList_Append(buffers, rest) < 0) {
            result = -1;
        }
        Py_XDECREF(rest);
    }
    release_bytes(&payload);
    return result;
}

static PyObject *
py_encode_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count)
{
    if (!check_count("encode_frame", count, 2, 3)) {
        return NULL;
    }
    long first = PyLong_AsLong(arguments[0]);
    if (first == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (first < 0 || first > 255) {
        return PyErr_Format(PyExc_ValueError, "the first byte must be in range(0, 256)");
    }
    uint32_t key = 0;
    int masked = count == 3 ? PyObject_IsTrue(arguments[2]) : 0;
    if (masked < 0 || (masked && read_key(arguments[2], &key) < 0)) {
        return NULL;
    }
    PyObject *buffers = PyList_New(0);
    if (buffers != NULL && append_frame(buffers, (uint8_t)first, arguments[1], masked, key) < 0) {
        Py_CLEAR(buffers);
    }
    return buffers;
}

/* The module */

#define FUNCTION(name, signature, summary)                                                                \
    {                                                                                                     \
        #name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, #name signature "\n--\n\n" summary \
    }

static PyMethodDef functions[] = {
    FUNCTION(apply_mask, "($module, data, key, /)",
             "Mask or unmask ``data`` with the four bytes of ``key`` (RFC 6455 section 5.3)."),
    FUNCTION(decode_messages, "($module, data, position, masked, max_length, messages, extension=None, /)",
             "Decode the messages that ``data`` has from ``position`` on."),
    FUNCTION(encode_frame, "($module, first, payload, key=b'', /)",
             "Encode a frame (RFC 6455 section 5.2)."),
    {NULL, NULL, 0, NULL},
};

int
add_codec(PyObject *module)
{
    PyObject *collections = PyImport_ImportModule("collections");
    PyObject *deque = collections == NULL ? NULL : PyObject_GetAttrString(collections, "deque");
    struct module_state *state = PyModule_GetState(module);
    state->deque_append = deque == NULL ? NULL : PyObject_GetAttrString(deque, "append");
    state->deque_popleft = deque == NULL ? NULL : PyObject_GetAttrString(deque, "popleft");
    Py_XDECREF(collections);
    Py_XDECREF(deque);
    if (state->deque_append == NULL || state->deque_popleft == NULL) {
        return -1;
    }
    return PyModule_AddFunctions(module, functions);
}
