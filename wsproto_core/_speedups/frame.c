/* The header of a frame (RFC 6455 section 5.2). */

#include "frame.h"

#include <string.h>

/* What the second byte has in the place of a length that follows. */
#define LENGTH_16_BITS 126
#define LENGTH_64_BITS 127

static uint64_t
read_big_endian(const uint8_t *data, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value = value << 8 | data[i];
    }
    return value;
}

static void
write_big_endian(uint8_t *out, uint64_t value, size_t size)
{
    for (size_t i = size; i > 0; i--) {
        out[i - 1] = (uint8_t)value;
        value >>= 8;
    }
}

enum header_result
parse_header(const uint8_t *data, size_t available, struct frame_header *header)
{
    if (available < 2) {
        return HEADER_INCOMPLETE;
    }
    header->first = data[0];
    header->masked = (data[1] & FRAME_MASKED) != 0;
    header->length = data[1] & ~FRAME_MASKED;
    size_t size = 2;
    if (header->length >= LENGTH_16_BITS) {
        bool long_form = header->length == LENGTH_64_BITS;
        size = long_form ? 10 : 4;
        if (available < size) {
            return HEADER_INCOMPLETE;
        }
        header->length = read_big_endian(data + 2, size - 2);
        /* "the minimal number of bytes MUST be used to encode the length", and the most significant bit of
           64 must be 0 */
        if (header->length < (long_form ? 65536 : 126) || header->length >> 63) {
            return HEADER_INVALID;
        }
    }
    header->key = 0;
    if (header->masked) {
        if (available < size + 4) {
            return HEADER_INCOMPLETE;
        }
        memcpy(&header->key, data + size, 4);
        size += 4;
    }
    header->size = size;
    return HEADER_COMPLETE;
}

size_t
encode_header(uint8_t out[FRAME_HEADER_MAX], uint8_t first, uint64_t length, bool masked, uint32_t key)
{
    uint8_t mask_bit = masked ? FRAME_MASKED : 0;
    size_t size;
    out[0] = first;
    if (length < 126) {
        out[1] = mask_bit | (uint8_t)length;
        size = 2;
    } else if (length < 65536) {
        out[1] = mask_bit | LENGTH_16_BITS;
        write_big_endian(out + 2, length, 2);
        size = 4;
    } else {
        out[1] = mask_bit | LENGTH_64_BITS;
        write_big_endian(out + 2, length, 8);
        size = 10;
    }
    if (masked) {
        memcpy(out + size, &key, 4);
        size += 4;
    }
    return size;
}
