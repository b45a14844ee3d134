/* Plain frames that arrive in pieces: the fast path of MessageReader in wsproto_core/messages.py, which is its
   specification.

   A plain frame is a frame of a message that nobody else sees: no extension, no observer. */

#ifndef WSPROTO_CORE_READER_H
#define WSPROTO_CORE_READER_H

#include "codec.h"
#include "state.h"

/* Each takes bytes from `decoded->position` on, and adds to what `decoded` has; it takes none if the reader in
   Python has to take them. Returns -1 with an exception set if there is no memory. */

/* Take payload of the frame that has begun; append its message to the queue if that is complete. */
int continue_frame(struct module_state *state, PyObject *reader, const uint8_t *data, size_t length,
                   struct decoded *decoded);

/* Begin with a message that is one frame of which only the first bytes are there. */
int begin_frame(struct module_state *state, PyObject *reader, const uint8_t *data, size_t length,
                struct decoded *decoded);

/* Bytes of the frame that has begun and that are to come, if it is a plain one; else 0. */
size_t missing_payload(struct module_state *state, PyObject *reader);

#endif
