/* UTF-8 in pieces (RFC 3629, RFC 6455 section 8.1). Does not use Python. */

#ifndef WSPROTO_CORE_UTF8_H
#define WSPROTO_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text has come to. All zero: between two characters, as at the beginning. */
struct utf8_state {
    uint8_t expected; /* continuation bytes that are missing of the last character */
    uint8_t low;      /* the least and the greatest value that the next of them may have, if any is */
    uint8_t high;
};

/* Check the next piece of a text. Returns false at the first byte after which nothing can make the text
   valid; the state has no meaning then. The text may end where `expected` is 0. */
bool utf8_check(struct utf8_state *state, const uint8_t *data, size_t length);

#endif
