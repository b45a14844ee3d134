/* The compiled fast path of adapters/asyncio/connection.py, which is its specification.

   A message that is one whole frame is received, taken by its task, answered and written without a line of
   this library's Python. All other cases call the methods in Python. */

#include "connection.h"

#ifndef MS_WINDOWS
#include <sys/socket.h>
#include <sys/uio.h>
#ifndef MSG_NOSIGNAL
/* Python ignores SIGPIPE. */
#define MSG_NOSIGNAL 0
#endif
#endif

/* Writing */

#ifndef MS_WINDOWS

/* Buffers that are written by one system call. */
#define BUFFERS_AT_ONCE 256

/* Bytes from which on other threads may run during a system call. */
#define LARGE_WRITE 65536

static ssize_t
send_buffers(int descriptor, struct iovec *buffers, size_t count, size_t length)
{
    struct msghdr message = {.msg_iov = buffers, .msg_iovlen = count};
    ssize_t sent;
    if (count == 1 && length < LARGE_WRITE) {
        return send(descriptor, buffers[0].iov_base, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (length < LARGE_WRITE) {
        return sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    Py_BEGIN_ALLOW_THREADS
    sent = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    Py_END_ALLOW_THREADS
    return sent;
}

/* Write a list of bytes objects to a socket, as far as it takes them.

   Returns the number of bytes. Errors are left to the transport, which finds them again. */
static size_t
write_buffers(int descriptor, PyObject *list)
{
    struct iovec buffers[BUFFERS_AT_ONCE];
    size_t written = 0;
    Py_ssize_t next = 0;
    while (next < PyList_GET_SIZE(list)) {
        size_t count = 0, length = 0;
        while (next < PyList_GET_SIZE(list) && count < BUFFERS_AT_ONCE) {
            PyObject *buffer = PyList_GET_ITEM(list, next++);
            if (!PyBytes_Check(buffer)) {
                return written;
            }
            buffers[count].iov_base = PyBytes_AS_STRING(buffer);
            buffers[count].iov_len = (size_t)PyBytes_GET_SIZE(buffer);
            length += buffers[count++].iov_len;
        }
        ssize_t sent = send_buffers(descriptor, buffers, count, length);
        if (sent > 0) {
            written += (size_t)sent;
        }
        if (sent < (ssize_t)length) {
            return written;
        }
    }
    return written;
}

Py_ssize_t
write_bytes(struct asyncio_state *state, PyObject *connection, PyObject *bytes)
{
    long descriptor = PyLong_AsLong(GET(connection, descriptor));
    struct iovec buffer = {.iov_base = PyBytes_AS_STRING(bytes), .iov_len = (size_t)PyBytes_GET_SIZE(bytes)};
    if (descriptor < 0 || buffer.iov_len == 0) {
        return 0;
    }
    ssize_t sent = send_buffers((int)descriptor, &buffer, 1, buffer.iov_len);
    return sent < 0 ? 0 : sent;
}

#else

Py_ssize_t
write_bytes(struct asyncio_state *Py_UNUSED(state), PyObject *Py_UNUSED(connection), PyObject *Py_UNUSED(bytes))
{
    return 0;
}

static size_t
write_buffers(int Py_UNUSED(descriptor), PyObject *Py_UNUSED(list))
{
    return 0;
}

#endif

/* Remove the first bytes, which have been written, from a list of buffers. Returns 1, and leaves the list, if all
   have been written; -1 with an exception set. */
static int
remove_written(PyObject *list, size_t written)
{
    Py_ssize_t whole = 0;
    /* What has been written is of bytes objects; others may follow. */
    while (written > 0 && whole < PyList_GET_SIZE(list)) {
        size_t length = (size_t)PyBytes_GET_SIZE(PyList_GET_ITEM(list, whole));
        if (written < length) {
            break;
        }
        written -= length;
        whole++;
    }
    if (whole == PyList_GET_SIZE(list)) {
        return 1;
    }
    if (PyList_SetSlice(list, 0, whole, NULL) < 0 || written == 0) {
        return PyErr_Occurred() ? -1 : 0;
    }
    PyObject *first = PyList_GET_ITEM(list, 0);
    PyObject *view = PyMemoryView_FromObject(first);
    PyObject *rest = view == NULL ? NULL : PySequence_GetSlice(view, (Py_ssize_t)written, PY_SSIZE_T_MAX);
    Py_XDECREF(view);
    return rest == NULL ? -1 : PyList_SetItem(list, 0, rest);
}

/* All buffers have been written. */
static int
report_written(struct asyncio_state *state, PyObject *protocol)
{
    enum outcome outcome = state->core->data_sent(state->core->state, protocol);
    return outcome == NOT_FAST ? call_method(protocol, state->name_data_sent) : (int)outcome;
}

/* Write buffers: what the socket does not take is left to the transport. */
static int
write_all(struct asyncio_state *state, PyObject *connection, PyObject *protocol, PyObject *buffers)
{
    PyObject *tls = GET(connection, tls);
    if (tls != Py_None && tls_is_fast(state, tls)) {
        int left = tls_write(state, connection, tls, buffers);
        if (left <= 0) {
            return left < 0 ? -1 : report_written(state, protocol);
        }
    } else if (tls == Py_None) {
        long descriptor = PyLong_AsLong(GET(connection, descriptor));
        size_t written = descriptor < 0 ? 0 : write_buffers((int)descriptor, buffers);
        int all = remove_written(buffers, written);
        if (all != 0) {
            return all < 0 ? -1 : report_written(state, protocol);
        }
    }
    PyObject *result = PyObject_CallMethodOneArg(connection, state->name_write, buffers);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

int
flush(struct asyncio_state *state, PyObject *connection)
{
    const struct core_api *core = state->core;
    PyObject *protocol = GET(connection, protocol);
    if (!HAS(connection, writing_paused)) {
        PyObject *buffers;
        enum outcome outcome = NOT_FAST;
        if (core->is_plain(core->state, protocol)) {
            outcome = core->data_to_send(core->state, protocol, &buffers);
        }
        if (outcome == FAILED) {
            return -1;
        }
        if (outcome == NOT_FAST) {
            PyObject *result = PyObject_CallOneArg(state->pure_flush, connection);
            Py_XDECREF(result);
            return result == NULL ? -1 : 0;
        }
        int written = 0;
        if (PyList_GET_SIZE(buffers) != 0) {
            written = write_all(state, connection, protocol, buffers);
        }
        Py_DECREF(buffers);
        if (written < 0) {
            return -1;
        }
    }
    if (PyDict_GET_SIZE(GET(connection, waiters)) != 0
        && call_method(connection, state->name_wake_waiters) < 0) {
        return -1;
    }
    if (slot_get(protocol, core->offsets->protocol_state) == core->state_closing) {
        return call_method(connection, state->name_end_stream);
    }
    return 0;
}

/* Reading */

/* Give bytes to the state machine; -1 with an exception set. */
static int
receive(struct asyncio_state *state, PyObject *protocol, const uint8_t *data, Py_ssize_t length)
{
    const struct core_api *core = state->core;
    Py_ssize_t used = core->receive_data(core->state, protocol, data, (size_t)length);
    if (used < 0 || used == length) {
        return used < 0 ? -1 : 0;
    }
    PyObject *rest = PyBytes_FromStringAndSize((const char *)data + used, length - used);
    if (rest == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(protocol, state->name_receive_data, rest);
    Py_DECREF(rest);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Resume the task that waits for input, or call message_received, if there is any. */
static int
deliver(struct asyncio_state *state, PyObject *connection, PyObject *protocol)
{
    PyObject *wakeup = GET(connection, wakeup);
    bool has_input = slot_get(protocol, state->core->offsets->protocol_has_input) == Py_True;
    if (wakeup == Py_None || !has_input) {
        return HAS(connection, called_back) ? call_method(connection, state->name_deliver) : 0;
    }
    Py_INCREF(wakeup);
    slot_set(connection, state->offsets.wakeup, Py_NewRef(Py_None));
    int result = Py_IS_TYPE(wakeup, (PyTypeObject *)state->waiter_type)
                     ? wake(state, wakeup)
                     : call_method(wakeup, state->name_wake);
    Py_DECREF(wakeup);
    return result;
}

/* Everything that is done within the read callback before bytes are written. */
static int
dispatch(struct asyncio_state *state, PyObject *connection, PyObject *protocol, const uint8_t *data,
         Py_ssize_t length)
{
    if (receive(state, protocol, data, length) < 0) {
        return -1;
    }
    if (slot_get(protocol, state->core->offsets->protocol_has_events) == Py_True) {
        /* A peer that floods with control frames gets no more than the usual share of time. */
        slot_set(connection, state->offsets.buffer, Py_NewRef(PyTuple_GET_ITEM(GET(connection, buffers), 0)));
        if (call_method(connection, state->name_handle_events) < 0) {
            return -1;
        }
    }
    return deliver(state, connection, protocol);
}

/* Use bytes of the peer that have been received, and decrypted if there is TLS. */
static int
use_data(struct asyncio_state *state, PyObject *connection, const uint8_t *data, Py_ssize_t length)
{
    const struct core_api *core = state->core;
    PyObject *protocol = GET(connection, protocol);
    SET_BOOL(connection, dispatching, true);
    int result = dispatch(state, connection, protocol, data, length);
    SET_BOOL(connection, dispatching, false);
    /* Only now: the messages that a task has taken meanwhile are no reason to stop reading. */
    if (result < 0 || core->check_watermarks(core->state, protocol) < 0) {
        return -1;
    }
    if (slot_get(protocol, core->offsets->protocol_state) != core->state_open) {
        result = call_method(connection, state->name_react);
    } else if (flush(state, connection) < 0) {
        result = -1;
    } else if (slot_get(protocol, core->offsets->protocol_wants_read) == GET(connection, reading_paused)) {
        result = call_method(connection, state->name_update_reading);
    }
    return result;
}

/* Have `eof_received` called, in a later iteration of the event loop. */
static int
end_soon(struct asyncio_state *state, PyObject *connection)
{
    PyObject *callback = PyObject_GetAttr(connection, state->name_eof_received);
    PyObject *handle = NULL;
    if (callback != NULL) {
        handle = PyObject_CallMethodOneArg(GET(connection, loop), state->name_call_soon, callback);
    }
    Py_XDECREF(callback);
    Py_XDECREF(handle);
    return handle == NULL ? -1 : 0;
}

/* Use encrypted bytes: they are decrypted into the same buffer, which is larger than they are, or not much
   smaller. */
static int
use_encrypted(struct asyncio_state *state, PyObject *connection, PyObject *tls, Py_buffer *buffer,
              Py_ssize_t length)
{
    bool full = true;
    int result = tls_take(state, tls, buffer->buf, length);
    while (result == 0 && full && tls_is_fast(state, tls)) {
        Py_ssize_t decrypted = tls_decrypt(state, tls, buffer->buf, (size_t)buffer->len, &full);
        if (decrypted < 0 || (tls_has_ended(state, tls) && end_soon(state, connection) < 0)) {
            return -1;
        }
        if (decrypted > 0) {
            result = use_data(state, connection, buffer->buf, decrypted);
        }
    }
    return result;
}

/* The read callback: so many bytes are in the read buffer. */
static int
read_callback(struct asyncio_state *state, PyObject *connection, Py_ssize_t length)
{
    PyObject *tls = GET(connection, tls);
    /* The next read may have another one. */
    PyObject *view = Py_NewRef(GET(connection, buffer));
    Py_buffer *buffer = PyMemoryView_GET_BUFFER(view);
    int result = tls == Py_None ? use_data(state, connection, buffer->buf, length)
                                : use_encrypted(state, connection, tls, buffer, length);
    Py_DECREF(view);
    if (result == 0 && length >= state->read_size && HAS(connection, reads_repeatedly)) {
        result = call_method(connection, state->name_read_next_turn);
    }
    return result;
}

/* The methods */

/* Whether the fast path of reading applies. */
static bool
is_fast(struct asyncio_state *state, PyObject *connection)
{
    if (!PyObject_TypeCheck(connection, (PyTypeObject *)state->connection_type)
        || !state->core->is_plain(state->core->state, GET(connection, protocol))) {
        return false;
    }
    PyObject *tls = GET(connection, tls);
    return tls == Py_None || tls_is_fast(state, tls);
}

static PyObject *
call_buffer_updated(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 2 && names == NULL && is_fast(state, arguments[0])) {
        Py_ssize_t length = PyLong_AsSsize_t(arguments[1]);
        if (length >= 0) {
            return read_callback(state, arguments[0], length) < 0 ? NULL : Py_NewRef(Py_None);
        }
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_get_buffer(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 2 && names == NULL && is_fast(state, arguments[0])) {
        return Py_NewRef(GET(arguments[0], buffer));
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_recv(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL
        && PyObject_TypeCheck(arguments[0], (PyTypeObject *)state->connection_type)) {
        return new_receive(state, RECV, arguments[0]);
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_anext(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL
        && PyObject_TypeCheck(arguments[0], (PyTypeObject *)state->connection_type)) {
        return new_receive(state, ANEXT, arguments[0]);
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_send(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 2 && names == NULL
        && (PyUnicode_CheckExact(arguments[1]) || PyBytes_CheckExact(arguments[1]))
        && PyObject_TypeCheck(arguments[0], (PyTypeObject *)state->connection_type)) {
        return new_send(state, SEND, arguments[0], arguments[1]);
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_flush(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL
        && PyObject_TypeCheck(arguments[0], (PyTypeObject *)state->connection_type)) {
        return flush(state, arguments[0]) < 0 ? NULL : Py_NewRef(Py_None);
    }
    return call_pure(method, arguments, flags, names);
}

static const struct fast_path METHODS[] = {
    {"buffer_updated", call_buffer_updated},
    {"get_buffer", call_get_buffer},
    {"recv", call_recv},
    {"__anext__", call_anext},
    {"send", call_send},
    {"_flush", call_flush},
};

static int
find_slots_of_connection(struct asyncio_state *state, PyObject *type)
{
    SLOTS_OF_CONNECTION(FIND_SLOT)
    return 0;
}

static int
find_slots_of_tls_transport(struct asyncio_state *state, PyObject *type)
{
    SLOTS_OF_TLS_TRANSPORT(FIND_SLOT)
    return 0;
}

static int
find_slots_of_memory_tls(struct asyncio_state *state, PyObject *type)
{
    SLOTS_OF_MEMORY_TLS(FIND_SLOT)
    return 0;
}

/* Import a name from a module; -1 with an exception set. */
static int
import_name(PyObject **member, const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    Py_XSETREF(*member, imported == NULL ? NULL : PyObject_GetAttrString(imported, name));
    Py_XDECREF(imported);
    return *member == NULL ? -1 : 0;
}

/* Find the function that returns the current task of a loop; -1 with an exception set. */
static int
find_current_task(struct asyncio_state *state)
{
#if PY_VERSION_HEX >= 0x030C0000
    return import_name(&state->current_task, "asyncio", "current_task");
#else
    /* This function is written in Python; what it calls is in C. */
    PyObject *tasks = NULL;
    if (import_name(&tasks, "asyncio.tasks", "_current_tasks") < 0) {
        return -1;
    }
    Py_XSETREF(state->current_task, PyObject_GetAttrString(tasks, "get"));
    Py_DECREF(tasks);
    return state->current_task == NULL ? -1 : 0;
#endif
}

/* Call something of a module with one keyword argument. */
static PyObject *
call_imported(const char *module, const char *name, const char *keyword, PyObject *value)
{
    PyObject *callable = NULL;
    if (import_name(&callable, module, name) < 0) {
        return NULL;
    }
    PyObject *names = Py_BuildValue("(s)", keyword);
    PyObject *result = names == NULL ? NULL : PyObject_Vectorcall(callable, &value, 0, names);
    Py_XDECREF(names);
    Py_DECREF(callable);
    return result;
}

/* Make a future that is done; -1 with an exception set. It has no loop, which would live as long as this module,
   but what a future asks its loop for: whether it is in debug mode. */
static int
make_done_future(struct asyncio_state *state)
{
    PyObject *loop = call_imported("types", "SimpleNamespace", "get_debug", (PyObject *)&PyBool_Type);
    PyObject *future = loop == NULL ? NULL : call_imported("asyncio", "Future", "loop", loop);
    Py_XDECREF(loop);
    Py_XSETREF(state->done_future, future);
    if (future == NULL) {
        return -1;
    }
    PyObject *result = PyObject_CallMethodOneArg(future, state->name_set_result, Py_None);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Give the methods of Connection their fast paths:
   use_classes(Connection, TurnQueue, TLSTransport, MemoryTLS, **numbers) */
static PyObject *
use_classes(PyObject *module, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", "", "", "", "turn", "call", "at_once", "gathered", "read_size", NULL};
    struct asyncio_state *state = PyModule_GetState(module);
    PyObject *connection_type, *turn_queue, *tls_transport_type, *memory_tls_type;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "OOOO$nnnnn", names, &connection_type, &turn_queue,
                                     &tls_transport_type, &memory_tls_type, &state->turn, &state->call,
                                     &state->at_once, &state->gathered, &state->read_size)) {
        return NULL;
    }
    if (find_slots_of_connection(state, connection_type) < 0
        || find_slots_of_tls_transport(state, tls_transport_type) < 0
        || find_slots_of_memory_tls(state, memory_tls_type) < 0) {
        return NULL;
    }
    state->offsets.senders_last = state->core->find_slot(turn_queue, "last");
    Py_XSETREF(state->connection_type, Py_NewRef(connection_type));
    Py_XSETREF(state->tls_transport_type, Py_NewRef(tls_transport_type));
    Py_XSETREF(state->memory_tls_type, Py_NewRef(memory_tls_type));
    Py_XSETREF(state->zero, PyLong_FromLong(0));
    Py_XSETREF(state->turn_object, PyLong_FromSsize_t(state->turn));
    Py_XSETREF(state->turn_after_call, PyLong_FromSsize_t(state->turn - state->call));
    Py_XSETREF(state->pure_flush, PyObject_GetAttrString(connection_type, "_flush"));
    Py_XSETREF(state->pure_receive, PyObject_GetAttrString(connection_type, "_receive"));
    Py_XSETREF(state->pure_send, PyObject_GetAttrString(connection_type, "send"));
    if (PyErr_Occurred() || find_current_task(state) < 0 || make_done_future(state) < 0
        || state->core->install_fast_paths(state->core->state, connection_type, module, METHODS,
                                           sizeof(METHODS) / sizeof(METHODS[0]))
               < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}

/* The module */

static PyMethodDef functions[] = {
    {"use_classes", (PyCFunction)(void (*)(void))use_classes, METH_VARARGS | METH_KEYWORDS,
     "Give the methods of Connection their fast paths: see adapters/asyncio/_speedups/__init__.py."},
    {"use_events", (PyCFunction)(void (*)(void))use_events, METH_FASTCALL,
     "Give the methods of WebSocketProtocol their fast paths: see adapters/asyncio/_speedups/__init__.py."},
    {NULL, NULL, 0, NULL},
};

/* The name of a type begins with the name of the module, which may be imported under two names. */
static int
add_type(PyObject *module, const PyType_Spec *spec, PyObject **type)
{
    const char *module_name = PyModule_GetName(module);
    PyObject *name = module_name == NULL ? NULL : PyUnicode_FromFormat("%s.%s", module_name, spec->name);
    if (name == NULL) {
        return -1;
    }
    PyType_Spec named = *spec;
    named.name = PyUnicode_AsUTF8(name);
    *type = named.name == NULL ? NULL : PyType_FromModuleAndSpec(module, &named, NULL);
    Py_DECREF(name);
    return *type == NULL ? -1 : 0;
}

#define INTERN(member, text)                                             \
    if ((state->name_##member = PyUnicode_InternFromString(text)) == NULL) { \
        return -1;                                                       \
    }

static int
module_exec(PyObject *module)
{
    struct asyncio_state *state = PyModule_GetState(module);
    NAMES(INTERN)
    state->core_module = PyImport_ImportModule("wsproto_core._speedups._compiled");
    if (state->core_module == NULL) {
        return -1;
    }
    state->core = PyCapsule_Import(CORE_API_NAME, 0);
    state->context_names = PyTuple_Pack(1, state->name_context);
    state->iterating_names = PyTuple_Pack(1, state->name_iterating);
    if (PyErr_Occurred() || import_name(&state->cancelled_error, "asyncio.exceptions", "CancelledError") < 0
        || import_name(&state->ssl_error, "ssl", "SSLError") < 0
        || import_name(&state->want_read_error, "ssl", "SSLWantReadError") < 0
        || add_type(module, &waiter_spec, &state->waiter_type) < 0
        || add_type(module, &receive_spec, &state->receive_type) < 0
        || add_type(module, &send_spec, &state->send_type) < 0) {
        return -1;
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    struct asyncio_state *state = PyModule_GetState(module);
#define do_(object) Py_VISIT(object);
    FOR_EACH_OBJECT(state)
#undef do_
    return 0;
}

static int
module_clear(PyObject *module)
{
    struct asyncio_state *state = PyModule_GetState(module);
#define do_(object) Py_CLEAR(object);
    FOR_EACH_OBJECT(state)
#undef do_
    return 0;
}

static void
module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "adapters.asyncio._speedups._compiled",
    .m_doc = "What is compiled of the connection on asyncio.",
    .m_size = sizeof(struct asyncio_state),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__compiled(void)
{
    return PyModuleDef_Init(&module_definition);
}
