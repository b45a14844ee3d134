/* The awaitables that `recv`, `__anext__` and `send` return, and those of ASGI's events: what a coroutine of the
   method in Python would do, in the cases that nearly every call is. In all other cases such a coroutine is made,
   and does it.

   They are coroutines as asyncio knows them (collections.abc.Coroutine): they can become tasks. */

#include "connection.h"

enum stage {
    CREATED,
    YIELDED,   /* to other tasks, before a message is taken */
    WAITING,   /* for a message: suspended on a waiter */
    DELEGATED, /* to a coroutine of the method in Python */
    FINISHED,
};

typedef struct {
    PyObject_HEAD
    struct asyncio_state *state;
    PyObject *connection;
    PyObject *argument; /* the message or the event to send, or NULL */
    PyObject *delegate; /* the coroutine, if there is one */
    enum stage stage;
    enum call_kind kind;
} Call;

static const char *const METHOD_NAMES[] = {
    [RECV] = "recv",
    [ANEXT] = "__anext__",
    [RECEIVE_EVENT] = "_receive_event",
    [SEND] = "send",
    [SEND_EVENT] = "_send_event",
};

static bool
sends(Call *call)
{
    return call->argument != NULL;
}

static PyObject *
new_call(struct asyncio_state *state, PyObject *type, enum call_kind kind, PyObject *connection,
         PyObject *argument)
{
    Call *call = PyObject_GC_New(Call, (PyTypeObject *)type);
    if (call == NULL) {
        return NULL;
    }
    call->state = state;
    call->connection = Py_NewRef(connection);
    call->argument = Py_XNewRef(argument);
    call->delegate = NULL;
    call->stage = CREATED;
    call->kind = kind;
    PyObject_GC_Track(call);
    return (PyObject *)call;
}

PyObject *
new_receive(struct asyncio_state *state, enum call_kind kind, PyObject *connection)
{
    return new_call(state, state->receive_type, kind, connection, NULL);
}

PyObject *
new_send(struct asyncio_state *state, enum call_kind kind, PyObject *connection, PyObject *argument)
{
    return new_call(state, state->send_type, kind, connection, argument);
}

static PySendResult
finish(Call *call, PyObject *value, PyObject **result)
{
    call->stage = FINISHED;
    *result = value;
    return value == NULL ? PYGEN_ERROR : PYGEN_RETURN;
}

/* Run the coroutine. */
static PySendResult
send_to_delegate(Call *call, PyObject *value, PyObject **result)
{
    PySendResult outcome = PyIter_Send(call->delegate, value, result);
    if (outcome != PYGEN_NEXT) {
        call->stage = FINISHED;
        Py_CLEAR(call->delegate);
    }
    return outcome;
}

/* Begin with a coroutine, which is given and may be NULL. */
static PySendResult
delegate_to(Call *call, PyObject *coroutine, PyObject **result)
{
    if (coroutine == NULL) {
        return finish(call, NULL, result);
    }
    call->delegate = coroutine;
    call->stage = DELEGATED;
    return send_to_delegate(call, Py_None, result);
}

static bool
has_input(struct asyncio_state *state, PyObject *connection)
{
    return slot_get(GET(connection, protocol), state->core->offsets->protocol_has_input) == Py_True;
}

/* Take the bytes of a call from what is left of the turn of its task, which has just begun for most calls. */
static int
count_call(struct asyncio_state *state, PyObject *connection, Py_ssize_t left, Py_ssize_t length)
{
    if (length <= state->call && slot_get(connection, left) == state->turn_object) {
        slot_set(connection, left, Py_NewRef(state->turn_after_call));
        return 0;
    }
    return slot_add(connection, left, -(length > state->call ? length : state->call));
}

/* Others have their turn, or have had it: begin a new one. */
static void
begin_turn(struct asyncio_state *state, PyObject *connection)
{
    slot_set(connection, state->offsets.takes_left, Py_NewRef(state->turn_object));
    slot_set(connection, state->offsets.sends_left, Py_NewRef(state->turn_object));
}

/* Receiving */

/* Read more at once after a large message, if the task has taken all messages: fewer reads cost less, and a
   message that arrives whole costs less than one in pieces. Of small messages, so many bytes would be too many
   messages. */
static void
choose_buffer(struct asyncio_state *state, PyObject *connection, Py_ssize_t length)
{
    bool large = length >= state->call && !has_input(state, connection);
    PyObject *buffer = PyTuple_GET_ITEM(GET(connection, buffers), large);
    if (GET(connection, buffer) != buffer) {
        slot_set(connection, state->offsets.buffer, Py_NewRef(buffer));
    }
}

static PySendResult
delegate_receive(Call *call, PyObject **result)
{
    struct asyncio_state *state = call->state;
    if (call->kind == RECEIVE_EVENT) {
        return delegate_to(call, PyObject_CallMethodNoArgs(call->connection, state->name_next_event), result);
    }
    PyObject *arguments[] = {call->connection, Py_None, call->kind == ANEXT ? Py_True : Py_False};
    PyObject *coroutine = PyObject_Vectorcall(state->pure_receive, arguments, 2, state->iterating_names);
    return delegate_to(call, coroutine, result);
}

/* Suspend the task until there is input. */
static PySendResult
wait_for_input(Call *call, PyObject **result)
{
    struct asyncio_state *state = call->state;
    PyObject *connection = call->connection;
    if (!HAS(connection, dispatching) && flush(state, connection) < 0) {
        return finish(call, NULL, result);
    }
    PyObject *waiter = new_waiter(state, GET(connection, loop));
    if (waiter == NULL) {
        return finish(call, NULL, result);
    }
    slot_set(connection, state->offsets.sends_in_row, Py_NewRef(state->zero));
    SET_BOOL(connection, receiving, true);
    slot_set(connection, state->offsets.wakeup, Py_NewRef(waiter));
    call->stage = WAITING;
    *result = waiter;
    return PYGEN_NEXT;
}

static PySendResult
take_message(Call *call, PyObject **result)
{
    struct asyncio_state *state = call->state;
    const struct core_api *core = state->core;
    PyObject *connection = call->connection;
    PyObject *protocol = GET(connection, protocol);
    bool wanted = slot_get(protocol, core->offsets->protocol_wants_read) == Py_True;
    PyObject *message;
    enum outcome outcome = core->next_message(core->state, protocol, &message);
    if (outcome == FAILED) {
        return finish(call, NULL, result);
    }
    if (outcome == NOT_FAST) {
        return delegate_receive(call, result);
    }
    if (message == NULL) {
        if (HAS(connection, reading_paused)
            || slot_get(protocol, core->offsets->protocol_receiving) != Py_True) {
            return delegate_receive(call, result);
        }
        return wait_for_input(call, result);
    }
    Py_ssize_t length = PyUnicode_Check(message) ? PyUnicode_GET_LENGTH(message) : PyBytes_GET_SIZE(message);
    choose_buffer(state, connection, length);
    if (count_call(state, connection, state->offsets.takes_left, length) < 0
        || (!wanted && HAS(connection, reading_paused)
            && slot_get(protocol, core->offsets->protocol_wants_read) == Py_True
            && react_soon(state, connection) < 0)) {
        Py_CLEAR(message);
    }
    if (call->kind == RECEIVE_EVENT && message != NULL) {
        Py_SETREF(message, new_event(state, message));
    }
    return finish(call, message, result);
}

static PySendResult
receive_send(PyObject *object, PyObject *value, PyObject **result)
{
    Call *call = (Call *)object;
    struct asyncio_state *state = call->state;
    PyObject *connection = call->connection;
    *result = NULL;
    switch (call->stage) {
    case CREATED:
        if (call->kind == RECEIVE_EVENT && !receives_messages(state, connection)) {
            return delegate_to(call, PyObject_CallOneArg(state->pure_receive_event, connection), result);
        }
        if (GET(connection, receiving) != Py_False
            || !state->core->is_plain(state->core->state, GET(connection, protocol))) {
            return delegate_receive(call, result);
        }
        if (PyLong_AsSsize_t(GET(connection, takes_left)) > 0 || !has_input(state, connection)) {
            return take_message(call, result);
        }
        begin_turn(state, connection);
        call->stage = YIELDED;
        *result = Py_NewRef(Py_None);
        return PYGEN_NEXT;
    case YIELDED:
        if (GET(connection, receiving) != Py_False) {
            return delegate_receive(call, result);
        }
        return take_message(call, result);
    case WAITING:
        SET_BOOL(connection, receiving, false);
        begin_turn(state, connection);
        return take_message(call, result);
    case DELEGATED:
        return send_to_delegate(call, value, result);
    default:
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
}

/* Sending */

/* Write now, or at the end of the read callback, or of the iteration of the event loop. Returns 1 if more may be
   sent, 0 if `_sent` is to be called, -1 with an exception set.

   `above`: more bytes than the high watermark wait. If they can be written now, nothing has to wait. */
static int
write_soon(struct asyncio_state *state, PyObject *connection, PyObject *protocol, bool above)
{
    const struct offsets *core = state->core->offsets;
    if (above
        && (flush(state, connection) < 0 || state->core->check_send_queue(state->core->state, protocol) < 0)) {
        return -1;
    }
    if (!HAS(connection, dispatching)) {
        if (slot_add(connection, state->offsets.sends_in_row, 1) < 0) {
            return -1;
        }
        Py_ssize_t in_row = PyLong_AsSsize_t(GET(connection, sends_in_row));
        bool gathers = in_row > state->at_once || has_input(state, connection);
        PyObject *outbox = slot_get(protocol, core->protocol_outbox);
        gathers = gathers && PyLong_AsSsize_t(slot_get(outbox, core->outbox_queued)) < state->gathered;
        if ((gathers ? react_soon(state, connection) : flush(state, connection)) < 0) {
            return -1;
        }
    }
    return slot_get(protocol, core->protocol_writable) == Py_True && !HAS(connection, broken);
}

/* Let the method in Python send. */
static PySendResult
delegate_send(Call *call, PyObject **result)
{
    struct asyncio_state *state = call->state;
    PyObject *arguments[] = {call->connection, call->argument};
    PyObject *pure = call->kind == SEND ? state->pure_send : state->pure_send_event;
    return delegate_to(call, PyObject_Vectorcall(pure, arguments, 2, NULL), result);
}

static PySendResult
send_message(Call *call, PyObject *message, PyObject **result)
{
    struct asyncio_state *state = call->state;
    const struct core_api *core = state->core;
    PyObject *connection = call->connection;
    PyObject *protocol = GET(connection, protocol), *senders = GET(connection, senders);
    enum outcome outcome = NOT_FAST;
    bool above = false;
    if (core->is_plain(core->state, protocol) && senders != NULL
        && slot_get(senders, state->offsets.senders_last) == Py_None
        && PyLong_AsSsize_t(GET(connection, sends_left)) > 0
        && slot_get(protocol, core->offsets->protocol_writable) == Py_True) {
        outcome = core->send(core->state, protocol, message, &above);
    }
    if (outcome == FAILED) {
        return finish(call, NULL, result);
    }
    if (outcome == NOT_FAST) {
        return delegate_send(call, result);
    }
    Py_ssize_t length = PyUnicode_Check(message) ? PyUnicode_GET_LENGTH(message) : PyBytes_GET_SIZE(message);
    if (count_call(state, connection, state->offsets.sends_left, length) < 0) {
        return finish(call, NULL, result);
    }
    int more = write_soon(state, connection, protocol, above);
    if (more == 0) {
        PyObject *name = call->kind == SEND ? state->name_sent : state->name_event_sent;
        return delegate_to(call, PyObject_CallMethodNoArgs(connection, name), result);
    }
    return finish(call, more < 0 ? NULL : Py_NewRef(Py_None), result);
}

static PySendResult
send_first(Call *call, PyObject **result)
{
    if (call->kind == SEND) {
        return send_message(call, call->argument, result);
    }
    PyObject *message = message_of_event(call->state, call->connection, call->argument);
    if (message == NULL) {
        return delegate_send(call, result);
    }
    PySendResult outcome = send_message(call, message, result);
    Py_DECREF(message);
    return outcome;
}

static PySendResult
send_send(PyObject *object, PyObject *value, PyObject **result)
{
    Call *call = (Call *)object;
    *result = NULL;
    switch (call->stage) {
    case CREATED:
        return send_first(call, result);
    case DELEGATED:
        return send_to_delegate(call, value, result);
    default:
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return PYGEN_ERROR;
    }
}

/* The methods of a coroutine */

static PySendResult
call_send(PyObject *call, PyObject *value, PyObject **result)
{
    return sends((Call *)call) ? send_send(call, value, result) : receive_send(call, value, result);
}

/* Turn the outcome of `call_send` into that of a Python method. */
static PyObject *
to_iteration(PySendResult outcome, PyObject *result)
{
    if (outcome != PYGEN_RETURN) {
        return result;
    }
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    Py_DECREF(result);
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *
call_method_send(PyObject *call, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = call_send(call, value, &result);
    return to_iteration(outcome, result);
}

static PyObject *
call_next(PyObject *call)
{
    return call_method_send(call, Py_None);
}

/* The task stops waiting. Keeps the exception that is set. */
static void
stop_waiting(Call *call)
{
    struct asyncio_state *state = call->state;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    call->stage = FINISHED;
    if (call_method(call->connection, state->name_stop_waiting) < 0) {
        PyErr_WriteUnraisable(call->connection);
    }
    SET_BOOL(call->connection, receiving, false);
    PyErr_Restore(type, value, traceback);
}

static PyObject *
call_throw(PyObject *object, PyObject *const *arguments, Py_ssize_t count)
{
    Call *call = (Call *)object;
    if (count < 1 || count > 3) {
        return PyErr_Format(PyExc_TypeError, "throw() takes 1 to 3 arguments, not %zd", count);
    }
    if (call->stage == DELEGATED) {
        PyObject *all[4] = {call->delegate};
        for (Py_ssize_t i = 0; i < count; i++) {
            all[i + 1] = arguments[i];
        }
        PyObject *result =
            PyObject_VectorcallMethod(call->state->name_throw, all, (size_t)count + 1, NULL);
        if (result == NULL) {
            call->stage = FINISHED;
            Py_CLEAR(call->delegate);
        }
        return result;
    }
    if (PyExceptionInstance_Check(arguments[0])) {
        PyErr_SetObject((PyObject *)Py_TYPE(arguments[0]), arguments[0]);
    } else if (PyExceptionClass_Check(arguments[0])) {
        PyErr_SetObject(arguments[0], count > 1 ? arguments[1] : NULL);
    } else {
        return PyErr_Format(PyExc_TypeError, "exceptions must be classes or instances, not %.100s",
                            Py_TYPE(arguments[0])->tp_name);
    }
    if (call->stage == WAITING) {
        stop_waiting(call);
    }
    call->stage = FINISHED;
    return NULL;
}

static PyObject *
call_close(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Call *call = (Call *)object;
    PyObject *result = Py_NewRef(Py_None);
    if (call->stage == DELEGATED) {
        Py_SETREF(result, PyObject_CallMethodNoArgs(call->delegate, call->state->name_close));
    } else if (call->stage == WAITING) {
        stop_waiting(call);
    }
    call->stage = FINISHED;
    return result;
}

static void
call_finalize(PyObject *object)
{
    Call *call = (Call *)object;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (call->stage == CREATED) {
        if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%.100s.%s' was never awaited",
                             Py_TYPE(call->connection)->tp_name, METHOD_NAMES[call->kind])
            < 0) {
            PyErr_WriteUnraisable(object);
        }
    } else if (call->stage == WAITING) {
        stop_waiting(call);
    }
    PyErr_Restore(type, value, traceback);
}

static int
call_traverse(PyObject *object, visitproc visit, void *arg)
{
    Call *call = (Call *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(call->connection);
    Py_VISIT(call->argument);
    Py_VISIT(call->delegate);
    return 0;
}

static int
call_clear(PyObject *object)
{
    Call *call = (Call *)object;
    Py_CLEAR(call->connection);
    Py_CLEAR(call->argument);
    Py_CLEAR(call->delegate);
    return 0;
}

static void
call_dealloc(PyObject *call)
{
    PyTypeObject *type = Py_TYPE(call);
    bool finished = ((Call *)call)->stage == FINISHED;
    if (!finished && PyObject_CallFinalizerFromDealloc(call) < 0) {
        return;
    }
    PyObject_GC_UnTrack(call);
    call_clear(call);
    type->tp_free(call);
    Py_DECREF(type);
}

static PyObject *
call_name(PyObject *call, void *Py_UNUSED(closure))
{
    return PyUnicode_FromString(METHOD_NAMES[((Call *)call)->kind]);
}

static PyObject *
call_qualname(PyObject *object, void *Py_UNUSED(closure))
{
    Call *call = (Call *)object;
    return PyUnicode_FromFormat("%s.%s", Py_TYPE(call->connection)->tp_name, METHOD_NAMES[call->kind]);
}

static PyObject *
call_running(PyObject *Py_UNUSED(call), void *Py_UNUSED(closure))
{
    return Py_NewRef(Py_False);
}

static PyObject *
call_awaiting(PyObject *call, void *Py_UNUSED(closure))
{
    PyObject *delegate = ((Call *)call)->delegate;
    return Py_NewRef(delegate == NULL ? Py_None : delegate);
}

static PyMethodDef call_methods[] = {
    {"send", call_method_send, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))call_throw, METH_FASTCALL, NULL},
    {"close", call_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef call_getset[] = {
    {"__name__", call_name, NULL, NULL, NULL},
    {"__qualname__", call_qualname, NULL, NULL, NULL},
    {"cr_running", call_running, NULL, NULL, NULL},
    {"cr_await", call_awaiting, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot call_slots[] = {
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, call_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, call_next},
    {Py_tp_methods, call_methods},
    {Py_tp_getset, call_getset},
    {Py_tp_finalize, call_finalize},
    {Py_tp_traverse, call_traverse},
    {Py_tp_clear, call_clear},
    {Py_tp_dealloc, call_dealloc},
    {0, NULL},
};

#define CALL_FLAGS \
    (Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE)

PyType_Spec receive_spec = {
    .name = "Receive",
    .basicsize = sizeof(Call),
    .flags = CALL_FLAGS,
    .slots = call_slots,
};

PyType_Spec send_spec = {
    .name = "Send",
    .basicsize = sizeof(Call),
    .flags = CALL_FLAGS,
    .slots = call_slots,
};
