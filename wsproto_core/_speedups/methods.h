/* The compiled fast paths of the hot methods of wsproto_core/protocol.py: what methods.c offers to C.

   Each function does what the method of the same name does, in the cases that nearly every message is. In all
   other cases it changes nothing and says so, and the method in Python is to be called.

   The objects are those of the Python classes, which have `__slots__`: a slot is a pointer at a fixed offset. */

#ifndef WSPROTO_CORE_METHODS_H
#define WSPROTO_CORE_METHODS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The slots that are used here, by class, with the name of each in Python. */
#define SLOTS_OF_PROTOCOL(slot)               \
    slot(protocol_state, "state")             \
    slot(protocol_receiving, "receiving")     \
    slot(protocol_has_input, "has_input")     \
    slot(protocol_has_events, "has_events")   \
    slot(protocol_wants_read, "wants_read")   \
    slot(protocol_writable, "writable")       \
    slot(protocol_inbox, "_inbox")            \
    slot(protocol_outbox, "_outbox")          \
    slot(protocol_timers, "_timers")          \
    slot(protocol_closing, "_closing")        \
    slot(protocol_received, "_bytes_received") \
    slot(protocol_sent, "_messages_sent")
#define SLOTS_OF_INBOX(slot)              \
    slot(inbox_messages, "messages")      \
    slot(inbox_taken, "taken")            \
    slot(inbox_wants_read, "wants_read")  \
    slot(inbox_demand, "_demand")         \
    slot(inbox_max_queue, "_max_queue")   \
    slot(inbox_read_limit, "_read_limit") \
    slot(inbox_overflow, "_overflow")     \
    slot(inbox_reader, "reader")          \
    slot(inbox_streaming, "_streaming")
#define SLOTS_OF_READER(slot)                            \
    slot(reader_between_messages, "between_messages")    \
    slot(reader_bounded, "bounded")                      \
    slot(reader_buffered, "buffered")                    \
    slot(reader_decompressing, "decompressing")          \
    slot(reader_building, "building")                    \
    slot(reader_first, "_first")                         \
    slot(reader_fragments, "_fragments")                 \
    slot(reader_is_plain, "_is_plain")                   \
    slot(reader_key, "_key")                             \
    slot(reader_masked, "masked")                        \
    slot(reader_max_frame, "max_frame")                  \
    slot(reader_messages, "messages")                    \
    slot(reader_payload, "_payload")                     \
    slot(reader_pending, "pending")                      \
    slot(reader_remaining, "_remaining")                 \
    slot(reader_wire_size, "_wire_size")                 \
    slot(reader_frames, "frames")                        \
    slot(reader_suspended, "suspended")
#define SLOTS_OF_OUTBOX(slot)               \
    slot(outbox_buffers, "_buffers")        \
    slot(outbox_close, "_close")            \
    slot(outbox_opening, "_opening")        \
    slot(outbox_ping_end, "_ping_end")      \
    slot(outbox_ping_queued, "_ping_queued") \
    slot(outbox_pongs, "_pongs")            \
    slot(outbox_random, "_random")          \
    slot(outbox_watermarks, "_watermarks")  \
    slot(outbox_writer, "writer")           \
    slot(outbox_bytes_sent, "bytes_sent")   \
    slot(outbox_queued, "queued")           \
    slot(outbox_ready, "ready")             \
    slot(outbox_unwritten, "unwritten")     \
    slot(outbox_writable, "writable")
#define SLOTS_OF_WRITER(slot)         \
    slot(writer_building, "building") \
    slot(writer_compressing, "compressing") \
    slot(writer_context_is_stale, "context_is_stale") \
    slot(writer_frames, "frames")     \
    slot(writer_plain, "plain")
#define SLOTS_OF_CLOSING(slot) slot(closing_deferred, "deferred")
#define SLOTS_OF_TIMERS(slot) slot(timers_running, "running")

#define DECLARE_OFFSET(member, name) Py_ssize_t member;

struct offsets {
    SLOTS_OF_PROTOCOL(DECLARE_OFFSET)
    SLOTS_OF_INBOX(DECLARE_OFFSET)
    SLOTS_OF_READER(DECLARE_OFFSET)
    SLOTS_OF_OUTBOX(DECLARE_OFFSET)
    SLOTS_OF_WRITER(DECLARE_OFFSET)
    SLOTS_OF_CLOSING(DECLARE_OFFSET)
    SLOTS_OF_TIMERS(DECLARE_OFFSET)
};

struct module_state;

/* The outcome of a fast path. */
enum outcome {
    FAILED = -1, /* an exception is set */
    DONE = 0,
    NOT_FAST = 1, /* nothing has been changed: call the method in Python */
};

/* A method of a Python class that has a compiled fast path; those of other extension modules, too. */
typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *module; /* the extension module, of which the state is needed */
    PyObject *pure;   /* the method in Python */
} FastMethod;

static inline void *
method_state(PyObject *method)
{
    return PyModule_GetState(((FastMethod *)method)->module);
}

/* Call the method in Python. */
static inline PyObject *
call_pure(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    return PyObject_Vectorcall(((FastMethod *)method)->pure, arguments, flags, names);
}

/* The fast path of a method, by the method's name. */
struct fast_path {
    const char *name;
    vectorcallfunc call;
};

/* Call a method without arguments and drop its result; -1 with an exception set. */
static inline int
call_method(PyObject *object, PyObject *name)
{
    PyObject *result = PyObject_CallMethodNoArgs(object, name);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* What another extension module gets from the capsule `C_API`, to call the fast paths without a detour.

   Before the first use, the classes must have been given (`ready`). */
struct core_api {
    struct module_state *state;
    const struct offsets *offsets;
    PyObject *state_open, *state_closing; /* State.OPEN and State.CLOSING; borrowed */

    /* Give methods of a class their fast paths; those in Python are called for the rest. `module` is the
       extension module that has the fast paths. Returns -1 with an exception set. */
    int (*install_fast_paths)(struct module_state *state, PyObject *type, PyObject *module,
                              const struct fast_path *paths, size_t count);

    /* Return the offset of a slot of a class; -1 with an exception set. */
    Py_ssize_t (*find_slot)(PyObject *type, const char *name);

    /* Whether the fast paths apply to this protocol: its methods are not overridden. */
    bool (*is_plain)(struct module_state *state, PyObject *protocol);

    /* Take bytes from the peer, as many as belong to plain messages. Returns their number; 0 if the method in
       Python has to take all of them; -1 with an exception set. `check_watermarks` is to be called next, or
       after messages have been taken. */
    Py_ssize_t (*receive_data)(struct module_state *state, PyObject *protocol, const uint8_t *data,
                               size_t length);

    /* Stop reading, if the receive queue has reached a high watermark. Returns -1 with an exception set. */
    int (*check_watermarks)(struct module_state *state, PyObject *protocol);

    /* Take a message, or ask for one: then `message` is NULL. A new reference. */
    enum outcome (*next_message)(struct module_state *state, PyObject *protocol, PyObject **message);

    /* Send a whole message. `above` tells whether more bytes than the high watermark wait to be written: then
       write them, and call `check_send_queue`. */
    enum outcome (*send)(struct module_state *state, PyObject *protocol, PyObject *message, bool *above);

    /* Turn `writable` false if more bytes than the high watermark wait. Returns -1 with an exception set. */
    int (*check_send_queue)(struct module_state *state, PyObject *protocol);

    /* Take the buffers to write: a new reference to a list. */
    enum outcome (*data_to_send)(struct module_state *state, PyObject *protocol, PyObject **buffers);

    /* All bytes that were handed out have been written. */
    enum outcome (*data_sent)(struct module_state *state, PyObject *protocol);
};

#define CORE_API_NAME "wsproto_core._speedups._compiled.C_API"

/* Slots */

/* The value of a slot, borrowed; NULL if it has none. */
static inline PyObject *
slot_get(PyObject *object, Py_ssize_t offset)
{
    return *(PyObject **)((char *)object + offset);
}

/* Set a slot; takes the reference. */
static inline void
slot_set(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject **slot = (PyObject **)((char *)object + offset);
    PyObject *before = *slot;
    *slot = value;
    Py_XDECREF(before);
}

static inline void
slot_set_bool(PyObject *object, Py_ssize_t offset, bool value)
{
    slot_set(object, offset, Py_NewRef(value ? Py_True : Py_False));
}

/* Add to the int in a slot; -1 with an exception set. */
static inline int
slot_add(PyObject *object, Py_ssize_t offset, Py_ssize_t summand)
{
    Py_ssize_t value = PyLong_AsSsize_t(slot_get(object, offset));
    if (value == -1 && PyErr_Occurred()) {
        return -1;
    }
    PyObject *sum = PyLong_FromSsize_t(value + summand);
    if (sum == NULL) {
        return -1;
    }
    slot_set(object, offset, sum);
    return 0;
}

#endif
