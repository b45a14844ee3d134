/* Masking (RFC 6455 section 5.3). Does not use Python. */

#ifndef WSPROTO_CORE_MASK_H
#define WSPROTO_CORE_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A masking key is its four bytes in the order of the frame, copied into a uint32_t: byte order does not
   matter. The key 0 leaves a payload as it is. */

/* Copy `length` bytes, each XORed with its byte of the key. `to` and `from` are the same or do not overlap.

   Returns whether a byte of the output has its top bit set, i.e. whether it is not ASCII. */
bool mask_copy(uint8_t *to, const uint8_t *from, size_t length, uint32_t key);

/* Return the key for the rest of a payload of which `by` bytes have been masked. */
uint32_t rotate_key(uint32_t key, size_t by);

#endif
