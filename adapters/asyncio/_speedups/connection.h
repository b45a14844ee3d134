/* The parts of the compiled fast path of adapters/asyncio/connection.py, and the state of the module. */

#ifndef ADAPTERS_ASYNCIO_CONNECTION_H
#define ADAPTERS_ASYNCIO_CONNECTION_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "methods.h"

/* The slots of Connection that are used here, with their names in Python. */
#define SLOTS_OF_CONNECTION(slot)              \
    slot(protocol, "protocol")                 \
    slot(buffer, "_buffer")                    \
    slot(buffers, "_buffers")                  \
    slot(called_back, "_called_back")          \
    slot(broken, "_broken")                    \
    slot(descriptor, "_descriptor")            \
    slot(dispatching, "_dispatching")          \
    slot(loop, "_loop")                        \
    slot(reaction_scheduled, "_reaction_scheduled") \
    slot(reading_paused, "_reading_paused")    \
    slot(reads_repeatedly, "_reads_repeatedly") \
    slot(receiving, "_receiving")              \
    slot(senders, "_senders")                  \
    slot(sends_in_row, "_sends_in_row")        \
    slot(sends_left, "_sends_left")            \
    slot(takes_left, "_takes_left")            \
    slot(tls, "_tls")                          \
    slot(waiters, "_waiters")                  \
    slot(wakeup, "_wakeup")                    \
    slot(writing_paused, "_writing_paused")

/* The same of TLSTransport and of MemoryTLS. */
#define SLOTS_OF_TLS_TRANSPORT(slot)    \
    slot(tls_failure, "error")          \
    slot(tls_ignoring, "_ignoring")     \
    slot(tls_memory, "tls")             \
    slot(tls_unwritten, "_unwritten")
#define SLOTS_OF_MEMORY_TLS(slot)         \
    slot(tls_below, "_below")             \
    slot(tls_ended, "ended")              \
    slot(tls_error, "error")              \
    slot(tls_established, "established")  \
    slot(tls_incoming, "_incoming")       \
    slot(tls_object, "_object")           \
    slot(tls_outgoing, "_outgoing")       \
    slot(tls_unsent, "unsent")

/* The same of the WebSocketProtocol of adapters/asgi. */
#define SLOTS_OF_WEBSOCKET_PROTOCOL(slot) \
    slot(asgi_asked, "_asked")            \
    slot(asgi_stage, "_asgi_stage")

struct connection_offsets {
    SLOTS_OF_CONNECTION(DECLARE_OFFSET)
    SLOTS_OF_WEBSOCKET_PROTOCOL(DECLARE_OFFSET)
    SLOTS_OF_TLS_TRANSPORT(DECLARE_OFFSET)
    SLOTS_OF_MEMORY_TLS(DECLARE_OFFSET)
    Py_ssize_t senders_last;
};

/* Methods in Python that are called from here, and names and values in events. */
#define NAMES(name)              \
    name(deliver, "_deliver")    \
    name(end_stream, "_end_stream") \
    name(handle_events, "_handle_events") \
    name(react, "_react")        \
    name(react_soon, "_react_soon") \
    name(read_next_turn, "_read_next_turn") \
    name(sent, "_sent")          \
    name(stop_waiting, "_stop_waiting_for_input") \
    name(update_reading, "_update_reading") \
    name(wake, "wake")           \
    name(wake_waiters, "_wake_waiters") \
    name(write, "_write")        \
    name(write_records, "_write_records") \
    name(answer, "_answer")      \
    name(collect, "collect")     \
    name(eof_received, "eof_received") \
    name(fail, "fail")           \
    name(pending, "pending")     \
    name(plain_write, "write")   \
    name(read, "read")           \
    name(set_result, "set_result") \
    name(data_sent, "data_sent") \
    name(receive_data, "receive_data") \
    name(call_soon, "call_soon") \
    name(context, "context")     \
    name(iterating, "iterating") \
    name(throw, "throw")         \
    name(close, "close")         \
    name(recv, "recv")           \
    name(send, "send")           \
    name(event_sent, "_event_sent") \
    name(next_event, "_next_event") \
    name(bytes, "bytes")         \
    name(text, "text")           \
    name(type, "type")           \
    name(websocket_receive, "websocket.receive") \
    name(websocket_send, "websocket.send")

/* In a function that returns -1 with an exception set. */
#define FIND_SLOT(member, name)                                                  \
    if ((state->offsets.member = state->core->find_slot(type, name)) < 0) {      \
        return -1;                                                               \
    }

#define DECLARE_NAME(member, text) PyObject *name_##member;

struct asyncio_state {
    const struct core_api *core;
    struct connection_offsets offsets;
    Py_ssize_t turn, call; /* TURN and CALL of adapters/shared/asynchronous.py */
    Py_ssize_t at_once, gathered, read_size; /* SENDS_AT_ONCE, GATHERED, READ_SIZE */
    /* The members below are references. */
    PyObject *core_module;
    PyObject *connection_type;
    PyObject *pure_flush, *pure_receive, *pure_send;
    PyObject *websocket_protocol_type, *stage_accepted; /* of adapters/asgi, or NULL */
    PyObject *fast_recv, *fast_send, *pure_receive_event, *pure_send_event;
    PyObject *waiter_type, *receive_type, *send_type;
    PyObject *current_task, *cancelled_error;
    PyObject *done_future; /* with the result None */
    PyObject *tls_transport_type, *memory_tls_type, *ssl_error, *want_read_error;
    PyObject *context_names;   /* ("context",) */
    PyObject *iterating_names; /* ("iterating",) */
    PyObject *turn_object, *turn_after_call, *zero; /* the ints `turn`, `turn - call` and 0 */
    NAMES(DECLARE_NAME)
};

#define VISIT_NAME(member, text) do_(state->name_##member);
#define FOR_EACH_OBJECT(state)   \
    do_((state)->core_module)    \
    do_((state)->connection_type) \
    do_((state)->pure_flush)     \
    do_((state)->pure_receive)   \
    do_((state)->pure_send)      \
    do_((state)->websocket_protocol_type) \
    do_((state)->stage_accepted) \
    do_((state)->fast_recv)      \
    do_((state)->fast_send)      \
    do_((state)->pure_receive_event) \
    do_((state)->pure_send_event) \
    do_((state)->waiter_type)    \
    do_((state)->receive_type)   \
    do_((state)->send_type)      \
    do_((state)->current_task)   \
    do_((state)->cancelled_error) \
    do_((state)->done_future)    \
    do_((state)->tls_transport_type) \
    do_((state)->memory_tls_type) \
    do_((state)->ssl_error)      \
    do_((state)->want_read_error) \
    do_((state)->context_names)  \
    do_((state)->iterating_names) \
    do_((state)->turn_object)    \
    do_((state)->turn_after_call) \
    do_((state)->zero)           \
    NAMES(VISIT_NAME)

/* Slots of a connection. */
#define GET(connection, slot) slot_get(connection, state->offsets.slot)
#define HAS(connection, slot) (GET(connection, slot) == Py_True)
#define SET_BOOL(connection, slot, value) slot_set_bool(connection, state->offsets.slot, value)

/* Have bytes written, and reading stopped or resumed, at the end of this iteration of the event loop. */
static inline int
react_soon(struct asyncio_state *state, PyObject *connection)
{
    return HAS(connection, reaction_scheduled) ? 0 : call_method(connection, state->name_react_soon);
}

/* waiter.c: the future that a task which waits for a message is suspended on. */

extern PyType_Spec waiter_spec;

/* Return a new waiter for the running loop. */
PyObject *new_waiter(struct asyncio_state *state, PyObject *loop);

/* Resume the task, if it has not been cancelled: now if that is possible, or else soon. */
int wake(struct asyncio_state *state, PyObject *waiter);

/* calls.c: the awaitables that `recv`, `__anext__` and `send` return, and those of ASGI's events. */

enum call_kind {
    RECV,
    ANEXT,         /* the end of the connection may be the end of an iteration */
    RECEIVE_EVENT, /* the message is returned in an event */
    SEND,
    SEND_EVENT,
};

extern PyType_Spec receive_spec, send_spec;

PyObject *new_receive(struct asyncio_state *state, enum call_kind kind, PyObject *connection);
PyObject *new_send(struct asyncio_state *state, enum call_kind kind, PyObject *connection, PyObject *argument);

/* events.c: messages in events of ASGI. */

/* use_events(WebSocketProtocol, ACCEPTED): see adapters/asgi/connection.py */
PyObject *use_events(PyObject *module, PyObject *const *arguments, Py_ssize_t count);

/* Whether the next event to receive is a message, or the end of the connection. */
bool receives_messages(struct asyncio_state *state, PyObject *connection);

/* Return the event for a message that has been received. */
PyObject *new_event(struct asyncio_state *state, PyObject *message);

/* Return the message in an event: `str` or `bytes`. NULL without an exception if the event is of another type, or
   may not be sent now, or has no such message. */
PyObject *message_of_event(struct asyncio_state *state, PyObject *connection, PyObject *event);

/* connection.c */

/* Write what the state machine wants to send, unless writing is paused; then end the stream if the state
   machine asks for it. */
int flush(struct asyncio_state *state, PyObject *connection);

/* Write a bytes object to the socket, as far as it takes it. Returns the number of bytes. */
Py_ssize_t write_bytes(struct asyncio_state *state, PyObject *connection, PyObject *bytes);

/* tls.c: the fast path of TLS. Each function but the first one needs what that one has found to be true. */

/* Whether the fast path applies: the handshake is done, and nothing has failed or ended or is unwritten. */
bool tls_is_fast(struct asyncio_state *state, PyObject *tls);

/* Take encrypted bytes. Returns -1 with an exception set. */
int tls_take(struct asyncio_state *state, PyObject *tls, uint8_t *data, Py_ssize_t length);

/* Decrypt what has been taken, as far as there is room, and write the answers of TLS. Returns the number of
   bytes; -1 with an exception set. `full` tells whether there may be more. */
Py_ssize_t tls_decrypt(struct asyncio_state *state, PyObject *tls, uint8_t *buffer, size_t capacity, bool *full);

/* Whether the peer has ended TLS, or TLS has failed. */
bool tls_has_ended(struct asyncio_state *state, PyObject *tls);

/* Encrypt and write a list of buffers. Returns 0 if all has been written; 1 if `_write` has to be called with
   the list, from which what it must not write has been removed; -1 with an exception set. */
int tls_write(struct asyncio_state *state, PyObject *connection, PyObject *tls, PyObject *list);

#endif
