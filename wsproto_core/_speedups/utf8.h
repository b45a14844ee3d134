/* UTF-8 in pieces (RFC 3629, RFC 6455 section 8.1). Does not use Python. */

#ifndef WSPROTO_CORE_UTF8_H
#define WSPROTO_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text has come to. All zero: between two characters, as at the beginning. */
struct utf8_state {
    uint8_t expected; /* bytes that are missing of the last character */
    uint8_t low;      /* the least and the greatest value that the next of them may have, if any is */
    uint8_t high;
    uint8_t seen;     /* bytes of that character that are there; 0 if none is missing */
    uint8_t bytes[4]; /* these bytes */
};

/* Check the next piece of a text. Returns false at the first byte after which nothing can make the text
   valid; the state has no meaning then. The text may end where `expected` is 0. */
bool utf8_check(struct utf8_state *state, const uint8_t *data, size_t length);

/* What it takes to decode a text. */
struct utf8_size {
    size_t characters;
    uint8_t width; /* bytes that the greatest code point takes: 1, 2 or 4 */
};

/* The following functions are for a text that is valid and whole. */

struct utf8_size utf8_measure(const uint8_t *data, size_t length);

/* Decode a text into an array of code points of 1, 2 or 4 bytes, as utf8_measure has told. */
void utf8_decode_1(const uint8_t *data, size_t length, uint8_t *out);
void utf8_decode_2(const uint8_t *data, size_t length, uint16_t *out);
void utf8_decode_4(const uint8_t *data, size_t length, uint32_t *out);

#endif
