/* Payloads: text like the JSON that applications send, and the same compressed. */
#ifndef PAYLOAD_H
#define PAYLOAD_H

#include <stddef.h>

/* Returns new memory with at least `size` bytes of ASCII text. */
unsigned char *make_text(size_t size);

/* The most bytes that deflate_text writes. */
size_t deflate_bound(size_t length);

/* Compresses a message for permessage-deflate (RFC 7692 section 7.2.1) without an earlier message, which is
 * valid in any context. Back references reach less than 4,096 bytes, so a window of 12 bits is enough.
 * Returns the length. */
size_t deflate_text(const unsigned char *text, size_t length, unsigned char *out);

#endif
