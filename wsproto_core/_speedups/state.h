/* The state of the extension module: one for each interpreter that imports it. */

#ifndef WSPROTO_CORE_STATE_H
#define WSPROTO_CORE_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Each member is a strong reference; module.c visits and clears them all, by the list below. */
struct module_state {
    PyObject *deque_append; /* the method of collections.deque, not of one deque */
    PyObject *payload_buffer_type;
    PyObject *window_type;
};

#define FOR_EACH_OBJECT_OF_STATE(do, state) \
    do((state)->deque_append);               \
    do((state)->payload_buffer_type);        \
    do((state)->window_type);

/* Each adds what its file defines to the module; returns -1 with an exception set if that fails. */
int add_codec(PyObject *module);
int add_payload_buffer(PyObject *module);

static inline struct module_state *
state_of(PyObject *module)
{
    return (struct module_state *)PyModule_GetState(module);
}

#endif
