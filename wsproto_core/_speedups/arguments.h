/* Arguments of the functions and methods. */

#ifndef WSPROTO_CORE_ARGUMENTS_H
#define WSPROTO_CORE_ARGUMENTS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of an argument, with what keeps them alive. */
struct bytes_argument {
    const uint8_t *data;
    size_t length;
    PyObject *bytes; /* a bytes object that has them, or NULL */
    Py_buffer view;  /* of another object, if view.obj is set */
};

/* Get the bytes of a bytes-like object; -1 with an exception set if it is none. */
int get_bytes(PyObject *object, struct bytes_argument *argument);

/* Get the bytes of a str, encoded to UTF-8, or of a bytes-like object; -1 with an exception set if it is
   neither, or cannot be encoded. */
int get_text_or_bytes(PyObject *object, struct bytes_argument *argument);

void release_bytes(struct bytes_argument *argument);

/* Read a masking key; -1 with an exception set if it has not four bytes. */
int read_key(PyObject *object, uint32_t *key);

/* Return a limit in bytes from an int of any size: one that is too great for the length of a frame, which has 63
   bits, is no limit. Sets an exception if it is no int. */
uint64_t read_limit(PyObject *limit);

/* Check the number of a function's arguments, all of which are positional; an exception is set if it is
   wrong. */
bool check_count(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most);

#endif
