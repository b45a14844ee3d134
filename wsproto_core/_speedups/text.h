/* Text out of UTF-8, as objects of Python. */

#ifndef WSPROTO_CORE_TEXT_H
#define WSPROTO_CORE_TEXT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>
#include <stdint.h>

/* Return a new str from valid UTF-8. It has exactly the memory that it needs. */
PyObject *text_from_valid(const uint8_t *data, size_t length);

/* Return a new str; NULL without an exception if the bytes are not UTF-8. */
PyObject *text_from_utf8(const uint8_t *data, size_t length);

#endif
