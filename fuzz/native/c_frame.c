/* The header of a frame: parsed as by a plain reading of RFC 6455 section 5.2, from any number of bytes, and
   written to the same bytes. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "../../wsproto_core/_speedups/frame.c"

/* Parse from memory that has so many bytes, so that a read beyond its end is seen. */
static enum header_result
parse_copy(const uint8_t *data, size_t size, struct frame_header *header)
{
    uint8_t *copy = malloc(size);
    CHECK(size == 0 || copy != NULL);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    enum header_result result = parse_header(copy, size, header);
    free(copy);
    return result;
}

/* Return how many bytes the header has, without a look at its validity; 0 if that is not known yet. */
static size_t
header_size(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    uint8_t length = data[1] & 0x7F;
    return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (data[1] & 0x80 ? 4 : 0);
}

static uint64_t
payload_length(const uint8_t *data)
{
    uint64_t length = data[1] & 0x7F;
    if (length == 126) {
        return (uint64_t)data[2] << 8 | data[3];
    }
    if (length == 127) {
        length = 0;
        for (size_t i = 2; i < 10; i++) {
            length = length * 256 + data[i];
        }
    }
    return length;
}

static bool
is_valid(const uint8_t *data)
{
    uint64_t length = payload_length(data);
    switch (data[1] & 0x7F) {
    case 126:
        return length > 125;
    case 127:
        return length > 0xFFFF && length <= 0x7FFFFFFFFFFFFFFF;
    default:
        return true;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t whole = header_size(data, size);
    size_t length_known = whole - (size >= 2 && data[1] & 0x80 ? 4 : 0);
    for (size_t available = 0; available <= size && available <= FRAME_HEADER_MAX + 1; available++) {
        struct frame_header header;
        enum header_result result = parse_copy(data, available, &header);
        if (available < 2 || available < length_known) {
            CHECK(result == HEADER_INCOMPLETE);
        } else if (!is_valid(data)) {
            CHECK(result == HEADER_INVALID);
        } else if (available < whole) {
            CHECK(result == HEADER_INCOMPLETE);
        } else {
            CHECK(result == HEADER_COMPLETE);
            CHECK(header.first == data[0]);
            CHECK(header.masked == (data[1] >= 0x80));
            CHECK(header.length == payload_length(data));
            CHECK(header.size == whole);
            uint8_t key[4];
            memcpy(key, &header.key, 4);
            CHECK(header.masked ? memcmp(key, data + whole - 4, 4) == 0 : header.key == 0);
            uint8_t out[FRAME_HEADER_MAX];
            CHECK(encode_header(out, header.first, header.length, header.masked, header.key) == whole);
            CHECK(memcmp(out, data, whole) == 0);
        }
    }
    return 0;
}
