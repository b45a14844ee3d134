/* The compiled fast paths of the hot methods of wsproto_core/protocol.py and outbox.py: see methods.h.

   The methods in Python are the specification. What stands here is the way that nearly every message takes:
   the connection is open, the message is one frame, of extensions there is none or one that compresses, no
   watermark is reached, and neither a control frame nor a close frame is waiting to be sent. */

#include "methods.h"

#include "arguments.h"
#include "codec.h"
#include "frame.h"
#include "reader.h"
#include "state.h"

#include <string.h>

/* Returns true for a slot that has the value True. */
#define IS_TRUE(object, slot) (slot_get(object, offsets->slot) == Py_True)
#define IS_NONE(object, slot) (slot_get(object, offsets->slot) == Py_None)

static bool
is_plain(struct module_state *state, PyObject *protocol)
{
    PyObject *type = protocol == NULL ? NULL : (PyObject *)Py_TYPE(protocol);
    if (type == NULL
        || (type != state->server_protocol && type != state->client_protocol && type != state->protocol)) {
        return false;
    }
    /* An object of which __init__ has not been called, or has failed, has no values in its slots. */
    return slot_get(protocol, state->offsets.protocol_closing) != NULL;
}

/* Whether a number of messages or bytes has reached the high watermark; -1 with an exception set. */
static int
has_reached(PyObject *watermarks, Py_ssize_t count)
{
    PyObject *watermark = PyTuple_GET_ITEM(watermarks, 0);
    int overflow = 0;
    if (PyLong_CheckExact(watermark)) {
        long long high = PyLong_AsLongLongAndOverflow(watermark, &overflow);
        return overflow == 0 ? count >= high : overflow < 0;
    }
    double high = PyFloat_AsDouble(watermark);
    if (high == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    return (double)count >= high;
}

/* Whether a number of messages is down to the low watermark; -1 with an exception set. */
static int
is_down(PyObject *watermarks, Py_ssize_t count)
{
    double low = PyFloat_AsDouble(PyTuple_GET_ITEM(watermarks, 1));
    if (low == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    return (double)count <= low;
}

/* receive_data */

/* Whether the message under construction counts, as the application does not ask for all of it. */
static bool
limits_building(struct module_state *state, PyObject *inbox, PyObject *reader)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *demand = slot_get(inbox, offsets->inbox_demand);
    return demand == state->demand_nothing ? !IS_TRUE(reader, reader_bounded) : demand == state->demand_fragment;
}

static int
check_watermarks(struct module_state *state, PyObject *protocol)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *inbox = slot_get(protocol, offsets->protocol_inbox);
    PyObject *reader = slot_get(inbox, offsets->inbox_reader);
    Py_ssize_t pending = PyLong_AsSsize_t(slot_get(reader, offsets->reader_pending));
    if (limits_building(state, inbox, reader)) {
        pending += PyLong_AsSsize_t(slot_get(reader, offsets->reader_buffered));
    }
    Py_ssize_t count = PyObject_Size(slot_get(inbox, offsets->inbox_messages));
    if (PyErr_Occurred()) {
        return -1;
    }
    int reached = has_reached(slot_get(inbox, offsets->inbox_max_queue), count);
    if (reached == 0) {
        reached = has_reached(slot_get(inbox, offsets->inbox_read_limit), pending);
    }
    return reached <= 0 ? reached : call_method(inbox, state->name_update);
}

/* Decode plain frames: the rest of one that has begun, whole ones, and the beginning of another one; but only
   whole ones if the application takes messages in pieces. */
static int
decode(struct module_state *state, PyObject *inbox, PyObject *reader, const uint8_t *data, size_t length,
       struct decoded *decoded)
{
    const struct offsets *offsets = &state->offsets;
    bool pieces = slot_get(inbox, offsets->inbox_demand) != state->demand_fragment;
    if (pieces && !IS_TRUE(reader, reader_between_messages)
        && continue_frame(state, reader, data, length, decoded) < 0) {
        return -1;
    }
    if (!IS_TRUE(reader, reader_between_messages) || decoded->position == length) {
        return 0;
    }
    bool masked = IS_TRUE(reader, reader_masked);
    uint64_t max_frame = read_limit(slot_get(reader, offsets->reader_max_frame));
    PyObject *messages = slot_get(inbox, offsets->inbox_messages);
    PyObject *extension = slot_get(reader, offsets->reader_decompressing);
    if (decode_messages(state, data, length, masked, max_frame, messages, extension, decoded) < 0) {
        return -1;
    }
    return decoded->position == length || !pieces ? 0 : begin_frame(state, reader, data, length, decoded);
}

static Py_ssize_t
receive_data(struct module_state *state, PyObject *protocol, const uint8_t *data, size_t length)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *inbox = slot_get(protocol, offsets->protocol_inbox);
    PyObject *reader = slot_get(inbox, offsets->inbox_reader);
    if (slot_get(protocol, offsets->protocol_state) != state->state_open
        || !IS_TRUE(protocol, protocol_receiving)
        || slot_get(inbox, offsets->inbox_messages) == state->no_messages
        || slot_get(inbox, offsets->inbox_overflow) != state->overflow_pause) {
        return 0;
    }
    struct decoded decoded = {.position = 0};
    int result = decode(state, inbox, reader, data, length, &decoded);
    if (decoded.position == 0) {
        return result;
    }
    /* After an error, the messages before it are there all the same. */
    PyObject *error_type, *error, *traceback;
    PyErr_Fetch(&error_type, &error, &traceback);
    if (slot_add(protocol, offsets->protocol_received, (Py_ssize_t)decoded.position) < 0) {
        result = -1;
    }
    if (decoded.count != 0) {
        if (slot_add(reader, offsets->reader_pending, (Py_ssize_t)decoded.size) < 0
            || slot_add(reader, offsets->reader_frames, (Py_ssize_t)decoded.count) < 0) {
            result = -1;
        }
        slot_set_bool(protocol, offsets->protocol_has_input, true);
    }
    if (error_type != NULL) {
        PyErr_Restore(error_type, error, traceback);
    }
    return result < 0 ? -1 : (Py_ssize_t)decoded.position;
}

/* next_message */

static enum outcome
ask_for_message(struct module_state *state, PyObject *protocol, PyObject *inbox, PyObject *reader)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *closing = slot_get(protocol, offsets->protocol_closing);
    if (!IS_TRUE(inbox, inbox_wants_read) || IS_TRUE(reader, reader_suspended)
        || !IS_NONE(closing, closing_deferred)) {
        return NOT_FAST;
    }
    slot_set(inbox, offsets->inbox_demand, Py_NewRef(state->demand_message));
    slot_set_bool(protocol, offsets->protocol_has_input, !IS_TRUE(protocol, protocol_receiving));
    return DONE;
}

/* Resume reading if the queue of so many messages has room again. */
static int
check_room(struct module_state *state, PyObject *inbox, Py_ssize_t count)
{
    const struct offsets *offsets = &state->offsets;
    if (IS_TRUE(inbox, inbox_wants_read)) {
        return 0;
    }
    int down = is_down(slot_get(inbox, offsets->inbox_max_queue), count);
    return down <= 0 ? down : call_method(inbox, state->name_update);
}

static enum outcome
next_message(struct module_state *state, PyObject *protocol, PyObject **message)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *inbox = slot_get(protocol, offsets->protocol_inbox);
    PyObject *reader = slot_get(inbox, offsets->inbox_reader);
    PyObject *messages = slot_get(inbox, offsets->inbox_messages);
    *message = NULL;
    if (IS_TRUE(inbox, inbox_streaming)) {
        return NOT_FAST;
    }
    Py_ssize_t count = PyObject_Size(messages);
    if (count <= 0) {
        return count < 0 ? FAILED : ask_for_message(state, protocol, inbox, reader);
    }
    PyObject *item = PyObject_CallOneArg(state->deque_popleft, messages);
    if (item == NULL) {
        return FAILED;
    }
    Py_ssize_t size = PyLong_AsSsize_t(PyTuple_GET_ITEM(item, 1));
    *message = Py_NewRef(PyTuple_GET_ITEM(item, 0));
    Py_DECREF(item);
    slot_set(inbox, offsets->inbox_demand, Py_NewRef(state->demand_nothing));
    bool more = count > 1 || !IS_TRUE(protocol, protocol_receiving) || IS_TRUE(reader, reader_suspended);
    slot_set_bool(protocol, offsets->protocol_has_input, more);
    if (slot_add(reader, offsets->reader_pending, -size) < 0 || slot_add(inbox, offsets->inbox_taken, 1) < 0
        || check_room(state, inbox, count - 1) < 0) {
        Py_CLEAR(*message);
        return FAILED;
    }
    return DONE;
}

/* send */

/* Get a masking key, or 0 for a server, which does not mask; -1 with an exception set.

   The keys of the default source are drawn in batches: see wsproto_core/randomness.py. */
static int
draw_key(struct module_state *state, PyObject *random, bool *masked, uint32_t *key)
{
    *key = 0;
    *masked = random != Py_None;
    if (!*masked) {
        return 0;
    }
    PyObject *bytes = NULL;
    if (random == state->random_bytes && PyList_GET_SIZE(state->keys) != 0) {
        bytes = PyObject_CallMethodNoArgs(state->keys, state->name_pop);
        if (bytes == NULL) {
            /* Another thread has taken the last one. */
            PyErr_Clear();
        }
    }
    if (bytes == NULL) {
        bytes = PyObject_CallOneArg(random, state->four);
    }
    if (bytes == NULL) {
        return -1;
    }
    if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != 4) {
        Py_DECREF(bytes);
        PyErr_SetString(PyExc_ValueError, "the source of randomness did not return 4 bytes");
        return -1;
    }
    memcpy(key, PyBytes_AS_STRING(bytes), 4);
    Py_DECREF(bytes);
    return 0;
}

/* Whether more bytes than the high watermark wait to be written; -1 with an exception set. */
static int
is_above(struct module_state *state, PyObject *outbox)
{
    const struct offsets *offsets = &state->offsets;
    Py_ssize_t waiting = PyLong_AsSsize_t(slot_get(outbox, offsets->outbox_queued))
                         + PyLong_AsSsize_t(slot_get(outbox, offsets->outbox_unwritten));
    /* Above the watermark, not at it. */
    return has_reached(slot_get(outbox, offsets->outbox_watermarks), waiting - 1);
}

static int
check_send_queue(struct module_state *state, PyObject *protocol)
{
    PyObject *outbox = slot_get(protocol, state->offsets.protocol_outbox);
    int above = is_above(state, outbox);
    return above <= 0 ? above : call_method(outbox, state->name_block);
}

/* Call the extension's `encode` for a whole message; add to the first byte of the frame the reserved bits. */
static PyObject *
call_encode(struct module_state *state, PyObject *extension, PyObject *data, uint8_t *first)
{
    PyObject *arguments[] = {extension, data, Py_True, Py_True};
    PyObject *encoded = PyObject_VectorcallMethod(state->name_encode, arguments, 2, state->encode_names);
    PyObject *payload = NULL, *second;
    unsigned char bits;
    if (encoded != NULL && !PyTuple_Check(encoded)) {
        PyErr_Format(PyExc_TypeError, "encode must return a tuple, not %.100s", Py_TYPE(encoded)->tp_name);
    } else if (encoded != NULL && PyArg_ParseTuple(encoded, "bO", &bits, &second)) {
        *first |= bits & FRAME_RSV1;
        payload = Py_NewRef(second);
    }
    Py_XDECREF(encoded);
    return payload;
}

/* Return the payload as it is sent, and add to the first byte of the frame the bits of the extension. */
static PyObject *
compress(struct module_state *state, PyObject *extension, PyObject *message, uint8_t *first)
{
    PyObject *data = PyUnicode_Check(message) ? PyUnicode_AsUTF8String(message) : Py_NewRef(message);
    PyObject *payload = data == NULL ? NULL : call_encode(state, extension, data, first);
    if (data != NULL && payload == NULL) {
        /* The message is not sent, and the extension must not go on from it. */
        PyObject *error_type, *error, *traceback;
        PyErr_Fetch(&error_type, &error, &traceback);
        if (call_method(extension, state->name_cancel_encoding) == 0) {
            PyErr_Restore(error_type, error, traceback);
        } else {
            Py_XDECREF(error_type);
            Py_XDECREF(error);
            Py_XDECREF(traceback);
        }
    }
    Py_XDECREF(data);
    return payload;
}

static Py_ssize_t
add_frame(struct module_state *state, PyObject *outbox, uint8_t first, PyObject *payload)
{
    bool masked;
    uint32_t key;
    if (draw_key(state, slot_get(outbox, state->offsets.outbox_random), &masked, &key) < 0) {
        return -1;
    }
    return append_frame(slot_get(outbox, state->offsets.outbox_buffers), first, payload, masked, key);
}

static enum outcome
send_message(struct module_state *state, PyObject *protocol, PyObject *message, bool *above)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *outbox = slot_get(protocol, offsets->protocol_outbox);
    PyObject *writer = slot_get(outbox, offsets->outbox_writer);
    PyObject *extension = slot_get(writer, offsets->writer_compressing);
    bool text = PyUnicode_CheckExact(message), plain = IS_TRUE(writer, writer_plain);
    if (slot_get(protocol, offsets->protocol_state) != state->state_open
        || !(text || PyBytes_CheckExact(message))
        || !(plain || (extension != Py_None && !IS_TRUE(writer, writer_context_is_stale)))
        || IS_TRUE(writer, writer_building)) {
        return NOT_FAST;
    }
    uint8_t first = FRAME_FIN | (text ? OPCODE_TEXT : OPCODE_BINARY);
    PyObject *payload = plain ? Py_NewRef(message) : compress(state, extension, message, &first);
    Py_ssize_t size = payload == NULL ? -1 : add_frame(state, outbox, first, payload);
    Py_XDECREF(payload);
    if (size < 0) {
        return FAILED;
    }
    slot_set(outbox, offsets->outbox_ready, Py_NewRef(Py_None));
    if (slot_add(writer, offsets->writer_frames, 1) < 0 || slot_add(outbox, offsets->outbox_queued, size) < 0
        || slot_add(protocol, offsets->protocol_sent, 1) < 0) {
        return FAILED;
    }
    int result = is_above(state, outbox);
    *above = result > 0;
    return result < 0 ? FAILED : DONE;
}

/* data_to_send, data_sent */

/* Whether there is nothing to send but frames that have been built, and no ping among them is timed. */
static bool
has_only_frames(struct module_state *state, PyObject *outbox)
{
    const struct offsets *offsets = &state->offsets;
    return IS_NONE(outbox, outbox_close) && IS_NONE(outbox, outbox_ping_queued)
           && PyList_GET_SIZE(slot_get(outbox, offsets->outbox_pongs)) == 0
           && PyList_GET_SIZE(slot_get(outbox, offsets->outbox_opening)) == 0;
}

static enum outcome
data_to_send(struct module_state *state, PyObject *protocol, PyObject **buffers)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *outbox = slot_get(protocol, offsets->protocol_outbox);
    PyObject *closing = slot_get(protocol, offsets->protocol_closing);
    *buffers = NULL;
    if (!IS_NONE(closing, closing_deferred) || !has_only_frames(state, outbox)) {
        return NOT_FAST;
    }
    PyObject *empty = PyList_New(0);
    if (empty == NULL) {
        return FAILED;
    }
    PyObject *queue = slot_get(outbox, offsets->outbox_buffers);
    if (PyList_GET_SIZE(queue) == 0) {
        *buffers = empty;
        return DONE;
    }
    PyObject *number = slot_get(outbox, offsets->outbox_queued);
    Py_ssize_t queued = PyLong_AsSsize_t(number);
    if (slot_get(outbox, offsets->outbox_unwritten) == state->zero) {
        slot_set(outbox, offsets->outbox_unwritten, Py_NewRef(number));
    } else if (slot_add(outbox, offsets->outbox_unwritten, queued) < 0) {
        Py_DECREF(empty);
        return FAILED;
    }
    if (slot_add(outbox, offsets->outbox_bytes_sent, queued) < 0) {
        Py_DECREF(empty);
        return FAILED;
    }
    slot_set(outbox, offsets->outbox_queued, Py_NewRef(state->zero));
    *buffers = Py_NewRef(queue);
    slot_set(outbox, offsets->outbox_buffers, empty);
    return DONE;
}

/* Outbox.take(True): take the buffers to write, which count as written. */
static enum outcome
take_written(struct module_state *state, PyObject *outbox, PyObject **buffers)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *queue = slot_get(outbox, offsets->outbox_buffers);
    *buffers = NULL;
    if (!has_only_frames(state, outbox) || !IS_NONE(outbox, outbox_ping_end) || !IS_TRUE(outbox, outbox_writable)
        || PyList_GET_SIZE(queue) == 0) {
        return NOT_FAST;
    }
    PyObject *empty = PyList_New(0);
    Py_ssize_t queued = PyLong_AsSsize_t(slot_get(outbox, offsets->outbox_queued));
    if (empty == NULL || slot_add(outbox, offsets->outbox_bytes_sent, queued) < 0) {
        Py_XDECREF(empty);
        return FAILED;
    }
    slot_set(outbox, offsets->outbox_queued, Py_NewRef(state->zero));
    *buffers = Py_NewRef(queue);
    slot_set(outbox, offsets->outbox_buffers, empty);
    return DONE;
}

static enum outcome
data_sent(struct module_state *state, PyObject *protocol)
{
    const struct offsets *offsets = &state->offsets;
    PyObject *outbox = slot_get(protocol, offsets->protocol_outbox);
    PyObject *timers = slot_get(protocol, offsets->protocol_timers);
    PyObject *running = slot_get(timers, offsets->timers_running);
    if (!IS_NONE(outbox, outbox_ping_end) || !IS_TRUE(outbox, outbox_writable)
        || PyList_GET_ITEM(running, state->write_timer) != Py_None) {
        return NOT_FAST;
    }
    slot_set(outbox, offsets->outbox_unwritten, Py_NewRef(state->zero));
    return DONE;
}

/* The methods as Python calls them */

static PyObject *
call_receive_data(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    if (count != 2 || names != NULL || !is_plain(state, arguments[0])
        || !PyObject_CheckBuffer(arguments[1])) {
        return call_pure(callable, arguments, flags, names);
    }
    Py_buffer data;
    if (PyObject_GetBuffer(arguments[1], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Py_ssize_t used = receive_data(state, arguments[0], data.buf, (size_t)data.len);
    PyObject *result = NULL;
    if (used > 0 && check_watermarks(state, arguments[0]) < 0) {
        used = -1;
    }
    if (used == data.len && used > 0) {
        result = Py_NewRef(Py_None);
    } else if (used == 0) {
        PyBuffer_Release(&data);
        return call_pure(callable, arguments, flags, names);
    } else if (used > 0) {
        PyObject *rest = PyBytes_FromStringAndSize((const char *)data.buf + used, data.len - used);
        if (rest != NULL) {
            PyObject *both[] = {arguments[0], rest};
            result = call_pure(callable, both, 2, NULL);
            Py_DECREF(rest);
        }
    }
    PyBuffer_Release(&data);
    return result;
}

static PyObject *
call_next_message(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL && is_plain(state, arguments[0])) {
        PyObject *message;
        enum outcome outcome = next_message(state, arguments[0], &message);
        if (outcome == DONE) {
            return message == NULL ? Py_NewRef(Py_None) : message;
        }
        if (outcome == FAILED) {
            return NULL;
        }
    }
    return call_pure(callable, arguments, flags, names);
}

/* Whether all keyword arguments of `send` have their defaults, True for `fin` and None for the others. */
static bool
has_defaults(struct module_state *state, PyObject *const *values, PyObject *names)
{
    for (Py_ssize_t i = 0; names != NULL && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *wanted = PyTuple_GET_ITEM(names, i) == state->name_fin ? Py_True : Py_None;
        if (values[i] != wanted) {
            return false;
        }
    }
    return true;
}

static PyObject *
call_send(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    if (PyVectorcall_NARGS(flags) == 2 && has_defaults(state, arguments + 2, names)
        && is_plain(state, arguments[0])) {
        bool above = false;
        enum outcome outcome = send_message(state, arguments[0], arguments[1], &above);
        if (outcome == FAILED || (above && check_send_queue(state, arguments[0]) < 0)) {
            return NULL;
        }
        if (outcome == DONE) {
            return Py_NewRef(Py_None);
        }
    }
    return call_pure(callable, arguments, flags, names);
}

static PyObject *
call_data_to_send(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL && is_plain(state, arguments[0])) {
        PyObject *buffers;
        enum outcome outcome = data_to_send(state, arguments[0], &buffers);
        if (outcome != NOT_FAST) {
            return buffers;
        }
    }
    return call_pure(callable, arguments, flags, names);
}

static PyObject *
call_data_sent(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL && is_plain(state, arguments[0])) {
        enum outcome outcome = data_sent(state, arguments[0]);
        if (outcome != NOT_FAST) {
            return outcome == DONE ? Py_NewRef(Py_None) : NULL;
        }
    }
    return call_pure(callable, arguments, flags, names);
}

static PyObject *
call_take(PyObject *callable, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct module_state *state = method_state(callable);
    if (PyVectorcall_NARGS(flags) == 2 && names == NULL && arguments[1] == Py_True
        && (PyObject *)Py_TYPE(arguments[0]) == state->outbox
        && slot_get(arguments[0], state->offsets.outbox_writer) != NULL) {
        PyObject *buffers;
        enum outcome outcome = take_written(state, arguments[0], &buffers);
        if (outcome != NOT_FAST) {
            return buffers;
        }
    }
    return call_pure(callable, arguments, flags, names);
}

static const struct fast_path METHODS[] = {
    {"receive_data", call_receive_data},
    {"next_message", call_next_message},
    {"send", call_send},
    {"data_to_send", call_data_to_send},
    {"data_sent", call_data_sent},
};

static const struct fast_path TAKE = {"take", call_take};

/* The type FastMethod */

static PyObject *
fast_method_bind(PyObject *method, PyObject *object, PyObject *Py_UNUSED(type))
{
    return object == NULL || object == Py_None ? Py_NewRef(method) : PyMethod_New(method, object);
}

/* Name, signature and documentation are those of the method in Python. */
static PyObject *
fast_method_getattr(PyObject *method, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr(method, name);
    if (value == NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        value = PyObject_GetAttr(((FastMethod *)method)->pure, name);
    }
    return value;
}

static int
fast_method_traverse(PyObject *method, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(method));
    Py_VISIT(((FastMethod *)method)->module);
    Py_VISIT(((FastMethod *)method)->pure);
    return 0;
}

static int
fast_method_clear(PyObject *method)
{
    Py_CLEAR(((FastMethod *)method)->module);
    Py_CLEAR(((FastMethod *)method)->pure);
    return 0;
}

static void
fast_method_dealloc(PyObject *method)
{
    PyTypeObject *type = Py_TYPE(method);
    PyObject_GC_UnTrack(method);
    fast_method_clear(method);
    type->tp_free(method);
    Py_DECREF(type);
}

static PyObject *
fast_method_doc(PyObject *method, void *Py_UNUSED(closure))
{
    return PyObject_GetAttrString(((FastMethod *)method)->pure, "__doc__");
}

static PyMemberDef fast_method_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(FastMethod, vectorcall), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(FastMethod, pure), READONLY, "The method in Python."},
    {NULL, 0, 0, 0, NULL},
};

static PyGetSetDef fast_method_getset[] = {
    {"__doc__", fast_method_doc, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot fast_method_slots[] = {
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_descr_get, fast_method_bind},
    {Py_tp_getattro, fast_method_getattr},
    {Py_tp_members, fast_method_members},
    {Py_tp_getset, fast_method_getset},
    {Py_tp_traverse, fast_method_traverse},
    {Py_tp_clear, fast_method_clear},
    {Py_tp_dealloc, fast_method_dealloc},
    {0, NULL},
};

static PyType_Spec fast_method_spec = {
    .name = "wsproto_core._speedups._compiled.FastMethod",
    .basicsize = sizeof(FastMethod),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL
             | Py_TPFLAGS_METHOD_DESCRIPTOR | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = fast_method_slots,
};

static PyObject *
new_method(struct module_state *state, vectorcallfunc call, PyObject *module, PyObject *pure)
{
    FastMethod *method = PyObject_GC_New(FastMethod, (PyTypeObject *)state->fast_method_type);
    if (method != NULL) {
        method->vectorcall = call;
        method->module = Py_NewRef(module);
        method->pure = Py_NewRef(pure);
        PyObject_GC_Track(method);
    }
    return (PyObject *)method;
}

/* The classes in Python */

/* Return the offset of a slot of a class; -1 with an exception set. */
static Py_ssize_t
find_slot(PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL) {
        return -1;
    }
    Py_ssize_t offset = -1;
    if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    } else {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
    }
    Py_DECREF(descriptor);
    return offset;
}

/* Import a name from a module of the core; a new reference. */
static PyObject *
import_name(const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    PyObject *value = imported == NULL ? NULL : PyObject_GetAttrString(imported, name);
    Py_XDECREF(imported);
    return value;
}

static int
import_member(PyObject **member, const char *module, const char *class, const char *name)
{
    PyObject *type = import_name(module, class);
    PyObject *value = type == NULL ? NULL : PyObject_GetAttrString(type, name);
    Py_XDECREF(type);
    Py_XSETREF(*member, value);
    return value == NULL ? -1 : 0;
}

/* Keep the objects that fast paths compare with. */
static int
find_objects(struct module_state *state)
{
    PyObject *position = NULL;
    Py_XSETREF(state->outbox, import_name("wsproto_core.outbox", "Outbox"));
    Py_XSETREF(state->protocol, import_name("wsproto_core.protocol", "Protocol"));
    Py_XSETREF(state->client_protocol, import_name("wsproto_core.handshake.client", "ClientProtocol"));
    Py_XSETREF(state->server_protocol, import_name("wsproto_core.handshake.server", "ServerProtocol"));
    Py_XSETREF(state->no_messages, import_name("wsproto_core.inbox", "NO_MESSAGES"));
    Py_XSETREF(state->random_bytes, import_name("wsproto_core.randomness", "random_bytes"));
    Py_XSETREF(state->keys, import_name("wsproto_core.randomness", "keys"));
    Py_XSETREF(state->no_payload, import_name("wsproto_core.messages", "_NO_PAYLOAD"));
    if (PyErr_Occurred() || import_member(&state->state_open, "wsproto_core.types", "State", "OPEN") < 0
        || import_member(&state->state_closing, "wsproto_core.types", "State", "CLOSING") < 0
        || import_member(&state->demand_nothing, "wsproto_core.inbox", "Demand", "NOTHING") < 0
        || import_member(&state->demand_message, "wsproto_core.inbox", "Demand", "MESSAGE") < 0
        || import_member(&state->demand_fragment, "wsproto_core.inbox", "Demand", "FRAGMENT") < 0
        || import_member(&state->overflow_pause, "wsproto_core.inbox", "Overflow", "PAUSE") < 0
        || import_member(&position, "wsproto_core.timers", "Timer", "WRITE") < 0) {
        return -1;
    }
    Py_SETREF(position, PyObject_GetAttrString(position, "position"));
    state->write_timer = position == NULL ? -1 : PyLong_AsSsize_t(position);
    Py_XDECREF(position);
    state->api.state_open = state->state_open;
    state->api.state_closing = state->state_closing;
    return PyErr_Occurred() ? -1 : 0;
}

#define FIND_SLOT(member, name)                                                     \
    if (type != NULL && (state->offsets.member = find_slot(type, name)) < 0) { \
        Py_CLEAR(type);                                                             \
    }

#define FIND_SLOTS(module, class, slots)   \
    if (true) {                            \
        PyObject *type = import_name(module, class); \
        slots(FIND_SLOT)                   \
        if (type == NULL) {                \
            return -1;                     \
        }                                  \
        Py_DECREF(type);                   \
    }

static int
find_slots(struct module_state *state)
{
    FIND_SLOTS("wsproto_core.protocol", "Protocol", SLOTS_OF_PROTOCOL)
    FIND_SLOTS("wsproto_core.inbox", "Inbox", SLOTS_OF_INBOX)
    FIND_SLOTS("wsproto_core.messages", "MessageReader", SLOTS_OF_READER)
    FIND_SLOTS("wsproto_core.outbox", "Outbox", SLOTS_OF_OUTBOX)
    FIND_SLOTS("wsproto_core.messages", "MessageWriter", SLOTS_OF_WRITER)
    FIND_SLOTS("wsproto_core.closing", "Closing", SLOTS_OF_CLOSING)
    FIND_SLOTS("wsproto_core.timers", "Timers", SLOTS_OF_TIMERS)
    return 0;
}

static int
install_fast_paths(struct module_state *state, PyObject *type, PyObject *module, const struct fast_path *paths,
                   size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        PyObject *pure = PyObject_GetAttrString(type, paths[i].name);
        PyObject *method = pure == NULL ? NULL : new_method(state, paths[i].call, module, pure);
        result = method == NULL ? -1 : PyObject_SetAttrString(type, paths[i].name, method);
        Py_XDECREF(pure);
        Py_XDECREF(method);
    }
    return result;
}

/* Give the methods of Protocol and Outbox their fast paths. */
static PyObject *
py_install(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct module_state *state = state_of(module);
    if (find_objects(state) < 0 || find_slots(state) < 0) {
        return NULL;
    }
    size_t count = sizeof(METHODS) / sizeof(METHODS[0]);
    if (install_fast_paths(state, state->protocol, module, METHODS, count) < 0
        || install_fast_paths(state, state->outbox, module, &TAKE, 1) < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}

/* The module */

static PyMethodDef functions[] = {
    {"install", py_install, METH_NOARGS,
     "install($module, /)\n--\n\nGive the methods of Protocol and Outbox their compiled fast paths."},
    {NULL, NULL, 0, NULL},
};

#define INTERN(member, text)                                       \
    if ((state->member = PyUnicode_InternFromString(text)) == NULL) { \
        return -1;                                                 \
    }

int
add_methods(PyObject *module)
{
    struct module_state *state = state_of(module);
    INTERN(name_update, "update")
    INTERN(name_block, "_block")
    INTERN(name_fin, "fin")
    INTERN(name_pop, "pop")
    INTERN(name_first, "first")
    INTERN(name_final, "final")
    INTERN(name_decode_whole, "decode_whole")
    INTERN(name_encode, "encode")
    INTERN(name_cancel_encoding, "cancel_encoding")
    state->encode_names = PyTuple_Pack(2, state->name_first, state->name_final);
    state->zero = PyLong_FromLong(0);
    state->four = PyLong_FromLong(4);
    state->fast_method_type = PyType_FromModuleAndSpec(module, &fast_method_spec, NULL);
    if (state->encode_names == NULL || state->zero == NULL || state->four == NULL || state->fast_method_type == NULL) {
        return -1;
    }
    state->api = (struct core_api){
        .state = state,
        .offsets = &state->offsets,
        .install_fast_paths = install_fast_paths,
        .find_slot = find_slot,
        .is_plain = is_plain,
        .receive_data = receive_data,
        .check_watermarks = check_watermarks,
        .next_message = next_message,
        .send = send_message,
        .check_send_queue = check_send_queue,
        .data_to_send = data_to_send,
        .data_sent = data_sent,
    };
    PyObject *capsule = PyCapsule_New(&state->api, CORE_API_NAME, NULL);
    if (capsule == NULL || PyModule_AddObjectRef(module, "C_API", capsule) < 0) {
        Py_XDECREF(capsule);
        return -1;
    }
    Py_DECREF(capsule);
    return PyModule_AddFunctions(module, functions);
}
