/* The functions of wsproto_core/codec.py, for other files of the extension module. */

#ifndef WSPROTO_CORE_CODEC_H
#define WSPROTO_CORE_CODEC_H

#include "state.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes that a message in the receive queue counts for beyond its own. */
#define MESSAGE_OVERHEAD 64

/* Bytes below which header and payload are joined. */
#define COPY_BELOW 16384

/* Bytes of messages at which no more is decompressed; and bytes of a message that is. */
#define DECOMPRESSED_AT_ONCE 65536

/* What decode_messages has come to. */
struct decoded {
    size_t position; /* of the first byte that has not been decoded */
    uint64_t size;   /* sum of the sizes that the messages count for */
    size_t count;    /* number of messages */
};

/* Decode the messages at `decoded->position`, as long as each is one whole frame, and append each with its
   size to the deque `messages`. `extension` decompresses messages; or it is None. Adds to what `decoded` has.
   Returns -1 with an exception set if there is no memory, or if the extension has raised one. */
int decode_messages(struct module_state *state, const uint8_t *data, size_t length, bool masked,
                    uint64_t max_length, PyObject *messages, PyObject *extension, struct decoded *decoded);

/* Append a message with its size to the queue; takes the reference to the message. Returns -1 with an exception
   set. */
int append_message(struct module_state *state, PyObject *messages, PyObject *message, uint64_t size);

/* Return a new bytes object of a whole frame. `key` is used if `masked`. */
PyObject *join_frame(uint8_t first, const uint8_t *payload, size_t length, bool masked, uint32_t key);

/* Append a frame to a list, in one or two buffers. `message` is a str, which is encoded to UTF-8, or a bytes-like
   object. Returns the size of the frame; -1 with an exception set. */
Py_ssize_t append_frame(PyObject *buffers, uint8_t first, PyObject *message, bool masked, uint32_t key);

#endif
