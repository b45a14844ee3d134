/* Plain frames that arrive in pieces: see reader.h. */

#include "reader.h"

#include "arguments.h"
#include "frame.h"
#include "mask.h"
#include "payload_buffer.h"

#include <string.h>

/* Of the exceptions of PayloadBuffer, drop the one for text that is not UTF-8: the reader in Python is given the
   same bytes, and raises it. Returns -1 if another exception is set. */
static int
leave_to_python(void)
{
    if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        return -1;
    }
    PyErr_Clear();
    return 0;
}

size_t
missing_payload(struct module_state *state, PyObject *reader)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *payload = slot_get(reader, offsets->reader_payload);
    Py_ssize_t missing = PyLong_AsSsize_t(slot_get(reader, offsets->reader_remaining));
    if (missing < 0) {
        /* A frame may be longer than any memory. */
        PyErr_Clear();
        return 0;
    }
    long first = PyLong_AsLong(slot_get(reader, offsets->reader_first));
    bool plain = slot_get(reader, offsets->reader_is_plain) == Py_True && (first & FRAME_OPCODE) < OPCODE_CLOSE
                 && Py_IS_TYPE(payload, (PyTypeObject *)state->payload_buffer_type)
                 && !((struct payload_buffer *)payload)->dropped;
    return plain ? (size_t)missing : 0;
}

/* Keep the masking key for the next bytes of the payload. */
static int
set_key(struct module_state *state, PyObject *reader, bool masked, uint32_t key)
{
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)&key, masked ? 4 : 0);
    if (bytes == NULL) {
        return -1;
    }
    slot_set(reader, state->offsets.reader_key, bytes);
    return 0;
}

static int
set_number(PyObject *object, Py_ssize_t offset, size_t value)
{
    PyObject *number = PyLong_FromSize_t(value);
    if (number == NULL) {
        return -1;
    }
    slot_set(object, offset, number);
    return 0;
}

/* Add a piece of payload that is the last one. Returns the message; NULL, with an exception set or not, if the
   reader in Python has to take the piece. */
static PyObject *
add_last(struct payload_buffer *payload, const uint8_t *data, size_t length, uint32_t key, uint64_t *size)
{
    const struct utf8_state before = payload->utf8;
    size_t used = payload->used;
    if (payload_add(payload, data, length, key, 0) < 0) {
        return NULL;
    }
    if (payload->utf8.expected != 0) {
        /* The text ends within a character. */
        payload->utf8 = before;
        payload->used = used;
        return NULL;
    }
    *size = payload_size(payload) + MESSAGE_OVERHEAD;
    return payload_finish(payload);
}

/* The message is complete: forget it. */
static void
forget_message(struct module_state *state, PyObject *reader)
{
    const struct offsets *offsets = &state->offsets;
    slot_set(reader, offsets->reader_payload, Py_NewRef(state->no_payload));
    slot_set(reader, offsets->reader_remaining, Py_NewRef(state->zero));
    slot_set(reader, offsets->reader_building, Py_NewRef(state->zero));
    slot_set(reader, offsets->reader_buffered, Py_NewRef(state->zero));
    slot_set(reader, offsets->reader_wire_size, Py_NewRef(state->zero));
    slot_set(reader, offsets->reader_fragments, Py_NewRef(state->zero));
    slot_set_bool(reader, offsets->reader_between_messages, true);
}

static int
end_message(struct module_state *state, PyObject *reader, const uint8_t *data, size_t length, uint32_t key,
            struct decoded *decoded)
{
    PyObject *payload = slot_get(reader, state->offsets.reader_payload), *message;
    uint64_t size = 0;
    Py_BEGIN_CRITICAL_SECTION(payload);
    message = add_last((struct payload_buffer *)payload, data, length, key, &size);
    Py_END_CRITICAL_SECTION();
    if (message == NULL) {
        return PyErr_Occurred() ? leave_to_python() : 0;
    }
    if (append_message(state, slot_get(reader, state->offsets.reader_messages), message, size) < 0) {
        return -1;
    }
    forget_message(state, reader);
    decoded->size += size;
    decoded->count += 1;
    decoded->position += length;
    return 0;
}

/* Add a piece of payload that is not the last one. `rest` is as in payload_add. Returns 1 if that is done; 0 if
   the reader in Python has to take the piece; -1 with an exception set. */
static int
add_piece(PyObject *object, const uint8_t *data, size_t length, uint32_t key, uint64_t rest, size_t *buffered)
{
    struct payload_buffer *payload = (struct payload_buffer *)object;
    int result;
    Py_BEGIN_CRITICAL_SECTION(object);
    result = payload_add(payload, data, length, key, rest);
    *buffered = payload_size(payload);
    Py_END_CRITICAL_SECTION();
    return result < 0 ? leave_to_python() : 1;
}

int
continue_frame(struct module_state *state, PyObject *reader, const uint8_t *data, size_t length,
               struct decoded *decoded)
{
    const struct offsets *offsets = &state->offsets;
    size_t missing = missing_payload(state, reader);
    PyObject *key_bytes = slot_get(reader, offsets->reader_key);
    bool masked = PyBytes_GET_SIZE(key_bytes) != 0, last = length - decoded->position >= missing;
    bool fin = PyLong_AsLong(slot_get(reader, offsets->reader_first)) & FRAME_FIN;
    size_t piece = last ? missing : length - decoded->position, buffered;
    uint32_t key = 0;
    if (missing == 0 || (last && !fin) || (masked && read_key(key_bytes, &key) < 0)) {
        return PyErr_Occurred() ? -1 : 0;
    }
    data += decoded->position;
    if (last) {
        return end_message(state, reader, data, piece, key, decoded);
    }
    PyObject *payload = slot_get(reader, offsets->reader_payload);
    int added = add_piece(payload, data, piece, key, fin ? missing - piece : 0, &buffered);
    if (added <= 0) {
        return added;
    }
    decoded->position += piece;
    if (set_number(reader, offsets->reader_remaining, missing - piece) < 0
        || set_number(reader, offsets->reader_buffered, buffered) < 0) {
        return -1;
    }
    return set_key(state, reader, masked, rotate_key(key, piece));
}

int
begin_frame(struct module_state *state, PyObject *reader, const uint8_t *data, size_t length,
            struct decoded *decoded)
{
    const struct offsets *offsets = &state->offsets;
    const uint8_t *frame = data + decoded->position;
    size_t available = length - decoded->position, buffered;
    struct frame_header header;
    bool masked = slot_get(reader, offsets->reader_masked) == Py_True;
    uint8_t opcode = frame[0] & FRAME_OPCODE;
    if (frame[0] != (FRAME_FIN | opcode) || (opcode != OPCODE_TEXT && opcode != OPCODE_BINARY)
        || parse_header(frame, available, &header) != HEADER_COMPLETE || header.masked != masked
        || header.length <= available - header.size || header.length > PY_SSIZE_T_MAX
        || header.length > read_limit(slot_get(reader, offsets->reader_max_frame))
        || slot_get(reader, offsets->reader_is_plain) != Py_True) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *payload = PyObject_CallOneArg(state->payload_buffer_type, opcode == OPCODE_TEXT ? Py_True : Py_False);
    if (payload == NULL) {
        return -1;
    }
    size_t piece = available - header.size, missing = (size_t)header.length - piece;
    int added = add_piece(payload, frame + header.size, piece, header.key, missing, &buffered);
    if (added <= 0) {
        Py_DECREF(payload);
        return added;
    }
    slot_set(reader, offsets->reader_payload, payload);
    slot_set_bool(reader, offsets->reader_between_messages, false);
    decoded->position = length;
    if (set_number(reader, offsets->reader_building, opcode) < 0
        || set_number(reader, offsets->reader_first, frame[0]) < 0
        || set_number(reader, offsets->reader_fragments, 1) < 0
        || set_number(reader, offsets->reader_wire_size, (size_t)header.length) < 0
        || set_number(reader, offsets->reader_remaining, missing) < 0
        || set_number(reader, offsets->reader_buffered, buffered) < 0) {
        return -1;
    }
    return set_key(state, reader, masked, rotate_key(header.key, piece));
}
