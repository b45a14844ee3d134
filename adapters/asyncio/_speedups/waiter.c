/* The future that a task which waits for a message is suspended on: Wakeup of adapters/asyncio/waiting.py.

   It is what a task of asyncio wants of a future, and no more: users get the awaitables of calls.c. */

#include "connection.h"

typedef struct {
    PyObject_HEAD
    struct asyncio_state *state;
    PyObject *loop;
    PyObject *callback, *context; /* of the task */
    PyObject *cancel_message;     /* set once it is cancelled */
    bool blocking;                /* _asyncio_future_blocking */
    bool done;
} Waiter;

PyObject *
new_waiter(struct asyncio_state *state, PyObject *loop)
{
    Waiter *waiter = PyObject_GC_New(Waiter, (PyTypeObject *)state->waiter_type);
    if (waiter == NULL) {
        return NULL;
    }
    waiter->state = state;
    waiter->loop = Py_NewRef(loop);
    waiter->callback = waiter->context = waiter->cancel_message = NULL;
    waiter->blocking = true;
    waiter->done = false;
    PyObject_GC_Track(waiter);
    return (PyObject *)waiter;
}

/* Have the loop call the task's callback; takes the references. */
static int
call_soon(Waiter *waiter, PyObject *callback, PyObject *context)
{
    struct asyncio_state *state = waiter->state;
    PyObject *arguments[] = {waiter->loop, callback, (PyObject *)waiter, context};
    PyObject *handle = PyObject_VectorcallMethod(state->name_call_soon, arguments, 3, state->context_names);
    Py_XDECREF(handle);
    Py_DECREF(callback);
    Py_DECREF(context);
    return handle == NULL ? -1 : 0;
}

/* Call the task's callback in its context. Returns 1 if the context is entered already; -1 with an exception
   set. */
static int
call_now(Waiter *waiter, PyObject *callback, PyObject *context)
{
    if (PyContext_Enter(context) < 0) {
        /* The context is entered already. */
        PyErr_Clear();
        return 1;
    }
    /* Of a future of its own type, a task written in C gets the result without calling a method. */
    PyObject *future = PyCFunction_CheckExact(callback) ? waiter->state->done_future : (PyObject *)waiter;
    PyObject *result = PyObject_CallOneArg(callback, future);
    Py_XDECREF(result);
    if (PyContext_Exit(context) < 0) {
        return -1;
    }
    return result == NULL ? -1 : 0;
}

int
wake(struct asyncio_state *state, PyObject *object)
{
    Waiter *waiter = (Waiter *)object;
    if (waiter->done) {
        return 0;
    }
    waiter->done = true;
    PyObject *callback = waiter->callback, *context = waiter->context;
    waiter->callback = waiter->context = NULL;
    if (callback == NULL) {
        return 0;
    }
    /* A task cannot be resumed while another one runs, nor in a context that is entered already. */
    PyObject *task = PyObject_CallOneArg(state->current_task, waiter->loop);
    if (task == Py_None) {
        int result = call_now(waiter, callback, context);
        if (result <= 0) {
            Py_DECREF(task);
            Py_DECREF(callback);
            Py_DECREF(context);
            return result;
        }
    }
    if (task == NULL) {
        Py_DECREF(callback);
        Py_DECREF(context);
        return -1;
    }
    Py_DECREF(task);
    return call_soon(waiter, callback, context);
}

/* Methods */

static PyObject *
waiter_wake(PyObject *waiter, PyObject *Py_UNUSED(ignored))
{
    return wake(((Waiter *)waiter)->state, waiter) < 0 ? NULL : Py_NewRef(Py_None);
}

static PyObject *
waiter_add_done_callback(PyObject *object, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    Waiter *waiter = (Waiter *)object;
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    bool given = named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "context") == 0;
    if (count != 1 || named != given) {
        PyErr_SetString(PyExc_TypeError, "add_done_callback() takes a function, and a context by its name");
        return NULL;
    }
    PyObject *context = given && arguments[1] != Py_None ? Py_NewRef(arguments[1]) : PyContext_CopyCurrent();
    if (context == NULL) {
        return NULL;
    }
    Py_XSETREF(waiter->callback, Py_NewRef(arguments[0]));
    Py_XSETREF(waiter->context, context);
    return Py_NewRef(Py_None);
}

static PyObject *
waiter_cancel(PyObject *object, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"msg", NULL};
    Waiter *waiter = (Waiter *)object;
    PyObject *message = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|O", names, &message)) {
        return NULL;
    }
    if (waiter->done) {
        return Py_NewRef(Py_False);
    }
    waiter->done = true;
    waiter->cancel_message = Py_NewRef(message);
    PyObject *callback = waiter->callback, *context = waiter->context;
    waiter->callback = waiter->context = NULL;
    if (callback != NULL && call_soon(waiter, callback, context) < 0) {
        return NULL;
    }
    return Py_NewRef(Py_True);
}

static PyObject *
waiter_result(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Waiter *waiter = (Waiter *)object;
    if (waiter->cancel_message == NULL) {
        return Py_NewRef(Py_None);
    }
    if (waiter->cancel_message == Py_None) {
        PyErr_SetNone(waiter->state->cancelled_error);
    } else {
        PyErr_SetObject(waiter->state->cancelled_error, waiter->cancel_message);
    }
    return NULL;
}

static PyObject *
waiter_done(PyObject *waiter, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((Waiter *)waiter)->done);
}

static PyObject *
waiter_cancelled(PyObject *waiter, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(((Waiter *)waiter)->cancel_message != NULL);
}

static PyObject *
waiter_get_loop(PyObject *waiter, PyObject *Py_UNUSED(ignored))
{
    return Py_NewRef(((Waiter *)waiter)->loop);
}

static PyObject *
waiter_get_blocking(PyObject *waiter, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(((Waiter *)waiter)->blocking);
}

static int
waiter_set_blocking(PyObject *waiter, PyObject *value, void *Py_UNUSED(closure))
{
    ((Waiter *)waiter)->blocking = value == Py_True;
    return 0;
}

static int
waiter_traverse(PyObject *object, visitproc visit, void *arg)
{
    Waiter *waiter = (Waiter *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(waiter->loop);
    Py_VISIT(waiter->callback);
    Py_VISIT(waiter->context);
    Py_VISIT(waiter->cancel_message);
    return 0;
}

static int
waiter_clear(PyObject *object)
{
    Waiter *waiter = (Waiter *)object;
    Py_CLEAR(waiter->loop);
    Py_CLEAR(waiter->callback);
    Py_CLEAR(waiter->context);
    Py_CLEAR(waiter->cancel_message);
    return 0;
}

static void
waiter_dealloc(PyObject *waiter)
{
    PyTypeObject *type = Py_TYPE(waiter);
    PyObject_GC_UnTrack(waiter);
    waiter_clear(waiter);
    type->tp_free(waiter);
    Py_DECREF(type);
}

static PyMethodDef waiter_methods[] = {
    {"wake", waiter_wake, METH_NOARGS, NULL},
    {"add_done_callback", (PyCFunction)(void (*)(void))waiter_add_done_callback,
     METH_FASTCALL | METH_KEYWORDS, NULL},
    {"cancel", (PyCFunction)(void (*)(void))waiter_cancel, METH_VARARGS | METH_KEYWORDS, NULL},
    {"cancelled", waiter_cancelled, METH_NOARGS, NULL},
    {"done", waiter_done, METH_NOARGS, NULL},
    {"result", waiter_result, METH_NOARGS, NULL},
    {"get_loop", waiter_get_loop, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef waiter_getset[] = {
    {"_asyncio_future_blocking", waiter_get_blocking, waiter_set_blocking, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot waiter_slots[] = {
    {Py_tp_doc, "The future that a task which waits for a message is suspended on."},
    {Py_tp_methods, waiter_methods},
    {Py_tp_getset, waiter_getset},
    {Py_tp_traverse, waiter_traverse},
    {Py_tp_clear, waiter_clear},
    {Py_tp_dealloc, waiter_dealloc},
    {0, NULL},
};

PyType_Spec waiter_spec = {
    .name = "Waiter",
    .basicsize = sizeof(Waiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION
             | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = waiter_slots,
};
