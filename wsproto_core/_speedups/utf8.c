/* UTF-8 in pieces (RFC 3629, RFC 6455 section 8.1). */

#include "utf8.h"

#include <string.h>

#define TOP_BITS 0x8080808080808080u

/* Return how many bytes at the beginning are ASCII, eight at a time. */
static size_t
skip_ascii(const uint8_t *data, size_t length)
{
    size_t count = 0;
    uint64_t word;
    for (; length - count >= 8; count += 8) {
        memcpy(&word, data + count, 8);
        if (word & TOP_BITS) {
            break;
        }
    }
    return count;
}

/* Begin with a character that is not ASCII (Unicode, table 3-7: well-formed UTF-8 byte sequences). */
static bool
begin_character(struct utf8_state *state, uint8_t byte)
{
    state->low = 0x80;
    state->high = 0xBF;
    if (byte >= 0xC2 && byte <= 0xDF) {
        state->expected = 1;
    } else if (byte >= 0xE0 && byte <= 0xEF) {
        state->expected = 2;
        if (byte == 0xE0) {
            state->low = 0xA0;
        } else if (byte == 0xED) { /* no surrogates */
            state->high = 0x9F;
        }
    } else if (byte >= 0xF0 && byte <= 0xF4) {
        state->expected = 3;
        if (byte == 0xF0) {
            state->low = 0x90;
        } else if (byte == 0xF4) { /* not beyond U+10FFFF */
            state->high = 0x8F;
        }
    } else {
        return false;
    }
    return true;
}

bool
utf8_check(struct utf8_state *state, const uint8_t *data, size_t length)
{
    size_t i = 0;
    while (i < length) {
        if (state->expected == 0) {
            i += skip_ascii(data + i, length - i);
            if (i == length) {
                break;
            }
            uint8_t byte = data[i++];
            if (byte >= 0x80 && !begin_character(state, byte)) {
                return false;
            }
        } else {
            uint8_t byte = data[i++];
            if (byte < state->low || byte > state->high) {
                return false;
            }
            state->expected--;
            state->low = 0x80;
            state->high = 0xBF;
        }
    }
    return true;
}
