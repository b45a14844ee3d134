/* The payload of the message under construction: PayloadBuffer of wsproto_core/assembly.py, which documents
   it and is its specification. */

#ifndef WSPROTO_CORE_PAYLOAD_BUFFER_H
#define WSPROTO_CORE_PAYLOAD_BUFFER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The free-threaded build has these, to lock an object. */
#ifndef Py_BEGIN_CRITICAL_SECTION
#define Py_BEGIN_CRITICAL_SECTION(object) {
#define Py_END_CRITICAL_SECTION() }
#endif

/* Payload goes straight into the object that becomes the message: a bytes object, or a str of ASCII. Text that
   turns out not to be ASCII goes on in a bytes object, and is decoded at the end. */
struct payload_buffer {
    PyObject_HEAD
    PyObject *object; /* NULL as long as there is no payload */
    size_t capacity;  /* bytes that the object has room for */
    size_t used;      /* bytes of payload in it */
    size_t reserved;  /* bytes after these that the caller may write, see payload_reserve */
    struct utf8_state utf8;
    bool text;
    bool ascii;   /* whether the object is a str */
    bool dropped; /* whether the message will not be delivered: it is only checked */
};

/* Each returns -1 or NULL with an exception set if there is no memory, or, for text, if it is not UTF-8.
   `key` is the masking key for the first byte, or 0. The caller holds the lock of the buffer on the
   free-threaded build. */

/* Unmask, check and append a piece of payload. `rest` is the number of bytes that follow as the last ones of the
   message, 0 if that is not known; no memory is taken for them now. */
int payload_add(struct payload_buffer *buffer, const uint8_t *data, size_t length, uint32_t key,
                uint64_t rest);

/* Make room for at most `length` bytes of payload to be written by the caller. Returns where they go; how many
   fit is buffer->reserved. The room grows with what has arrived, not with `length`. */
uint8_t *payload_reserve(struct payload_buffer *buffer, size_t length);

/* Unmask, check and append the first `length` bytes of those that were reserved. */
int payload_commit(struct payload_buffer *buffer, size_t length, uint32_t key);

/* Return the message, and begin anew. */
PyObject *payload_finish(struct payload_buffer *buffer);

/* Return the bytes of complete characters, or of binary payload, that have been added and not taken. */
size_t payload_size(const struct payload_buffer *buffer);

#endif
