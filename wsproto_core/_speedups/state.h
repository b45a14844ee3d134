/* The state of the extension module: one for each interpreter that imports it. */

#ifndef WSPROTO_CORE_STATE_H
#define WSPROTO_CORE_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "methods.h"

/* Each member is a strong reference; module.c visits and clears them all, by the list below. */
struct module_state {
    PyObject *deque_append, *deque_popleft; /* methods of collections.deque, not of one deque */
    PyObject *fast_method_type, *payload_buffer_type, *window_type;
    PyObject *outbox, *protocol, *client_protocol, *server_protocol;
    PyObject *state_open, *state_closing; /* members of State */
    PyObject *demand_nothing, *demand_message, *demand_fragment, *overflow_pause;
    PyObject *no_messages, *no_payload; /* NO_MESSAGES of inbox.py, _NO_PAYLOAD of messages.py */
    PyObject *name_update, *name_block, *name_fin, *name_pop, *name_first, *name_final;
    PyObject *name_decode_whole, *name_encode, *name_cancel_encoding, *encode_names;
    PyObject *random_bytes, *keys; /* of randomness.py */
    PyObject *zero, *four;
    /* The members below are no references. */
    Py_ssize_t write_timer; /* the position of Timer.WRITE */
    struct offsets offsets;
    struct core_api api;
};

#define FOR_EACH_OBJECT_OF_STATE(do, state) \
    do((state)->deque_append); \
    do((state)->deque_popleft); \
    do((state)->fast_method_type); \
    do((state)->payload_buffer_type); \
    do((state)->window_type); \
    do((state)->outbox); \
    do((state)->protocol); \
    do((state)->client_protocol); \
    do((state)->server_protocol); \
    do((state)->state_open); \
    do((state)->state_closing); \
    do((state)->demand_nothing); \
    do((state)->demand_message); \
    do((state)->demand_fragment); \
    do((state)->no_payload); \
    do((state)->overflow_pause); \
    do((state)->no_messages); \
    do((state)->name_update); \
    do((state)->name_block); \
    do((state)->name_fin); \
    do((state)->name_pop); \
    do((state)->name_first); \
    do((state)->name_final); \
    do((state)->name_decode_whole); \
    do((state)->name_encode); \
    do((state)->name_cancel_encoding); \
    do((state)->encode_names); \
    do((state)->random_bytes); \
    do((state)->keys); \
    do((state)->zero); \
    do((state)->four);

/* Each adds what its file defines to the module; returns -1 with an exception set if that fails. */
int add_codec(PyObject *module);
int add_payload_buffer(PyObject *module);
int add_methods(PyObject *module);

static inline struct module_state *
state_of(PyObject *module)
{
    return (struct module_state *)PyModule_GetState(module);
}

#endif
