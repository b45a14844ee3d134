/* wsproto_core._speedups._compiled: what is compiled of the core.

   Each file adds its part in a function of its own. Each interpreter has a module of its own, with its own
   state (PEP 489, PEP 630), and nothing here relies on the global interpreter lock (PEP 703). */

#include "state.h"

static int (*const PARTS[])(PyObject *module) = {
    add_codec,
    add_payload_buffer,
    add_methods,
};

static int
module_exec(PyObject *module)
{
    for (size_t i = 0; i < sizeof(PARTS) / sizeof(PARTS[0]); i++) {
        if (PARTS[i](module) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    FOR_EACH_OBJECT_OF_STATE(Py_VISIT, state_of(module))
    return 0;
}

static int
module_clear(PyObject *module)
{
    FOR_EACH_OBJECT_OF_STATE(Py_CLEAR, state_of(module))
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
    .m_name = "wsproto_core._speedups._compiled",
    .m_doc = "What is compiled of the core: each name is documented where it is defined in Python.",
    .m_size = sizeof(struct module_state),
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
