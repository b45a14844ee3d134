/* Masking, by each way that the processor and the length choose: the same as byte by byte. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wide_registers.h"
#include "check.h"
#include "../../wsproto_core/_speedups/mask.c"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 6) {
        return 0;
    }
    uint8_t key_bytes[4];
    uint32_t key;
    memcpy(key_bytes, data, 4);
    memcpy(&key, data, 4);
    bool in_place = data[4] & 1;
    wide_registers = data[4] & 2;
    size_t offset = data[4] >> 2 & 31; /* that of the memory, and how far the payload has been masked */
    size_t cut = data[5];
    data += 6;
    size -= 6;

    uint8_t *from = malloc(offset + size);
    uint8_t *other = malloc(offset + size);
    CHECK(offset + size == 0 || (from != NULL && other != NULL));
    if (size > 0) {
        memcpy(from + offset, data, size);
    }
    uint8_t *to = in_place ? from : other;
    if (cut > size) {
        cut = size;
    }
    bool top_bit = mask_copy(to + offset, from + offset, cut, key);
    /* The rest, with the key that belongs to its first byte. */
    top_bit |= mask_copy(to + offset + cut, from + offset + cut, size - cut, rotate_key(key, cut));

    bool expected = false;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = data[i] ^ key_bytes[i % 4];
        CHECK(to[offset + i] == byte);
        expected |= byte >= 0x80;
    }
    CHECK(top_bit == expected);
    uint32_t rotated = rotate_key(key, offset);
    for (size_t i = 0; i < 4; i++) {
        CHECK(((uint8_t *)&rotated)[i] == key_bytes[(offset + i) % 4]);
    }
    free(from);
    free(other);
    return 0;
}
