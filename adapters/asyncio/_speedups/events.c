/* The compiled fast path of adapters/asgi/connection.py: a message is received and sent in an event of ASGI. */

#include "connection.h"

/* Whether the connection has the method that is expected, and not that of a subclass. */
static bool
has_method(PyObject *connection, PyObject *name, PyObject *expected)
{
    PyObject *method = PyObject_GetAttr((PyObject *)Py_TYPE(connection), name);
    if (method == NULL) {
        PyErr_Clear();
        return false;
    }
    Py_DECREF(method);
    return method == expected;
}

bool
receives_messages(struct asyncio_state *state, PyObject *connection)
{
    return GET(connection, asgi_stage) == state->stage_accepted && HAS(connection, asgi_asked)
           && has_method(connection, state->name_recv, state->fast_recv);
}

PyObject *
new_event(struct asyncio_state *state, PyObject *message)
{
    PyObject *event = PyDict_New();
    PyObject *key = PyUnicode_Check(message) ? state->name_text : state->name_bytes;
    if (event == NULL || PyDict_SetItem(event, state->name_type, state->name_websocket_receive) < 0
        || PyDict_SetItem(event, key, message) < 0) {
        Py_CLEAR(event);
    }
    return event;
}

/* Return a value of an event; NULL if there is none, or it is None. */
static PyObject *
get_value(PyObject *event, PyObject *key)
{
    PyObject *value = PyDict_GetItemWithError(event, key);
    if (value == NULL) {
        /* An error occurs once more in the method in Python. */
        PyErr_Clear();
    }
    return value == Py_None ? NULL : Py_XNewRef(value);
}

/* Whether the event is `websocket.send`. */
static bool
is_send(struct asyncio_state *state, PyObject *event)
{
    PyObject *type = get_value(event, state->name_type);
    bool same = type == state->name_websocket_send
                || (type != NULL && PyUnicode_CheckExact(type)
                    && PyUnicode_Compare(type, state->name_websocket_send) == 0);
    Py_XDECREF(type);
    return same;
}

PyObject *
message_of_event(struct asyncio_state *state, PyObject *connection, PyObject *event)
{
    if (!PyDict_CheckExact(event) || GET(connection, asgi_stage) != state->stage_accepted
        || !has_method(connection, state->name_send, state->fast_send) || !is_send(state, event)) {
        return NULL;
    }
    PyObject *message = get_value(event, state->name_bytes);
    bool bytes = message != NULL;
    if (!bytes) {
        message = get_value(event, state->name_text);
    }
    if (message != NULL && !(bytes ? PyBytes_CheckExact(message) : PyUnicode_CheckExact(message))) {
        Py_CLEAR(message);
    }
    return message;
}

static bool
is_websocket_protocol(struct asyncio_state *state, PyObject *object)
{
    return PyObject_TypeCheck(object, (PyTypeObject *)state->websocket_protocol_type);
}

static PyObject *
call_receive_event(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 1 && names == NULL && is_websocket_protocol(state, arguments[0])) {
        return new_receive(state, RECEIVE_EVENT, arguments[0]);
    }
    return call_pure(method, arguments, flags, names);
}

static PyObject *
call_send_event(PyObject *method, PyObject *const *arguments, size_t flags, PyObject *names)
{
    struct asyncio_state *state = method_state(method);
    if (PyVectorcall_NARGS(flags) == 2 && names == NULL && is_websocket_protocol(state, arguments[0])) {
        return new_send(state, SEND_EVENT, arguments[0], arguments[1]);
    }
    return call_pure(method, arguments, flags, names);
}

static const struct fast_path METHODS[] = {
    {"_receive_event", call_receive_event},
    {"_send_event", call_send_event},
};

static int
find_slots(struct asyncio_state *state, PyObject *type)
{
    SLOTS_OF_WEBSOCKET_PROTOCOL(FIND_SLOT)
    return 0;
}

PyObject *
use_events(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    struct asyncio_state *state = PyModule_GetState(module);
    if (count != 2) {
        return PyErr_Format(PyExc_TypeError, "use_events() takes 2 arguments, not %zd", count);
    }
    PyObject *type = arguments[0];
    if (find_slots(state, type) < 0) {
        return NULL;
    }
    Py_XSETREF(state->websocket_protocol_type, Py_NewRef(type));
    Py_XSETREF(state->stage_accepted, Py_NewRef(arguments[1]));
    Py_XSETREF(state->fast_recv, PyObject_GetAttr(type, state->name_recv));
    Py_XSETREF(state->fast_send, PyObject_GetAttr(type, state->name_send));
    Py_XSETREF(state->pure_receive_event, PyObject_GetAttrString(type, METHODS[0].name));
    Py_XSETREF(state->pure_send_event, PyObject_GetAttrString(type, METHODS[1].name));
    if (PyErr_Occurred()
        || state->core->install_fast_paths(state->core->state, type, module, METHODS,
                                           sizeof(METHODS) / sizeof(METHODS[0]))
               < 0) {
        return NULL;
    }
    return Py_NewRef(Py_None);
}
