/* UTF-8 in pieces of any sizes: valid up to the same byte as by a plain reading of RFC 3629, and decoded to the
   same code points. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wide_registers.h"
#include "check.h"
#include "../../wsproto_core/_speedups/utf8.c"

struct reading {
    size_t good;       /* the number of bytes that can begin a text */
    size_t characters; /* the number of whole characters in them */
    bool whole;        /* whether they end behind a character */
};

/* Read whole characters by the table of section 4 of RFC 3629, and the beginning of one at the end. */
static struct reading
read_plainly(const uint8_t *data, size_t size, uint32_t *out)
{
    struct reading reading = {0, 0, true};
    size_t i = 0;
    while (i < size) {
        uint8_t first = data[i];
        size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
        if (length == 0) {
            return reading;
        }
        uint32_t character = length == 1 ? first : first & (0x7F >> length);
        for (size_t j = 1; j < length; j++) {
            reading.good = i + j;
            reading.whole = false;
            if (i + j == size) {
                return reading;
            }
            uint8_t byte = data[i + j];
            uint8_t low = 0x80, high = 0xBF;
            if (j == 1) {
                low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : low;
                high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : high;
            }
            if (byte < low || byte > high) {
                return reading;
            }
            character = character << 6 | (byte & 0x3F);
        }
        out[reading.characters++] = character;
        i += length;
        reading.good = i;
        reading.whole = true;
    }
    return reading;
}

/* Check a piece in memory of its own, so that a read beyond its ends is seen. */
static bool
check_piece(struct utf8_state *state, const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size);
    CHECK(size == 0 || copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    bool valid = utf8_check(state, copy, size);
    free(copy);
    return valid;
}

static void
check_decoding(const uint8_t *data, size_t size, const uint32_t *expected, size_t characters)
{
    uint32_t greatest = 0;
    for (size_t i = 0; i < characters; i++) {
        greatest = expected[i] > greatest ? expected[i] : greatest;
    }
    struct utf8_size measured = utf8_measure(data, size);
    CHECK(measured.characters == characters);
    CHECK(measured.width == (greatest < 0x100 ? 1 : greatest < 0x10000 ? 2 : 4));
    void *out = malloc(characters * measured.width);
    CHECK(characters == 0 || out != NULL);
    if (measured.width == 1) {
        utf8_decode_1(data, size, out);
    } else if (measured.width == 2) {
        utf8_decode_2(data, size, out);
    } else {
        utf8_decode_4(data, size, out);
    }
    for (size_t i = 0; i < characters; i++) {
        uint32_t character = measured.width == 1   ? ((uint8_t *)out)[i]
                             : measured.width == 2 ? ((uint16_t *)out)[i]
                                                   : ((uint32_t *)out)[i];
        CHECK(character == expected[i]);
    }
    free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    wide_registers = data[0] & 1;
    size_t step = data[1] | (size_t)data[2] << 8;
    data += 3;
    size -= 3;
    step = step == 0 ? size + 1 : step;

    uint32_t *expected = malloc((size + 1) * sizeof *expected);
    CHECK(expected != NULL);
    struct reading reading = read_plainly(data, size, expected);

    /* In pieces of this size, up to the piece with the first wrong byte. */
    struct utf8_state state = {0};
    bool valid = true;
    size_t position = 0;
    while (valid && position < size) {
        size_t piece = size - position < step ? size - position : step;
        valid = check_piece(&state, data + position, piece);
        CHECK(valid == (position + piece <= reading.good));
        position += piece;
    }
    CHECK(valid == (reading.good == size));
    if (valid) {
        CHECK((state.expected == 0) == reading.whole);
        CHECK((state.seen == 0) == reading.whole);
    }
    if (reading.good == size && reading.whole) {
        check_decoding(data, size, expected, reading.characters);
    }
    free(expected);
    return 0;
}
