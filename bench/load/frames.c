#include "frames.h"

#include <string.h>

size_t write_header(unsigned char *out, unsigned first_byte, bool masked, uint64_t length) {
    unsigned mask_bit = masked ? MASKED : 0;
    unsigned length_bytes = length < 126 ? 0 : length < 65536 ? 2 : 8;
    out[0] = (unsigned char)first_byte;
    unsigned length_code = length_bytes == 0 ? (unsigned)length : length_bytes == 2 ? 126 : 127;
    out[1] = (unsigned char)(mask_bit | length_code);
    for (unsigned i = 0; i < length_bytes; i++)
        out[2 + i] = (unsigned char)(length >> 8 * (length_bytes - 1 - i));
    return 2 + length_bytes;
}

size_t write_masked_frame(unsigned char *out, unsigned first_byte, const void *payload, size_t length) {
    static const unsigned char key[4] = {0x37, 0xfa, 0x21, 0x3d};
    size_t header = write_header(out, first_byte, true, length);
    memcpy(out + header, key, sizeof key);
    header += sizeof key;
    if (length > 0)
        memcpy(out + header, payload, length);
    apply_mask(out + header, length, key);
    return header + length;
}

size_t header_length(const unsigned char first_bytes[2]) {
    unsigned length = first_bytes[1] & 127u;
    size_t key = first_bytes[1] & MASKED ? 4 : 0;
    return 2 + key + (length == 126 ? 2 : length == 127 ? 8 : 0);
}

uint64_t payload_length(const unsigned char *header) {
    unsigned length = header[1] & 127u;
    if (length < 126)
        return length;
    uint64_t extended = 0;
    for (unsigned i = 0; i < (length == 126 ? 2u : 8u); i++)
        extended = extended << 8 | header[2 + i];
    return extended;
}

__attribute__((optimize("O3"))) void apply_mask(unsigned char *payload, size_t length,
                                                const unsigned char key[4]) {
    uint32_t key4;
    memcpy(&key4, key, sizeof key4);
    uint64_t key8 = (uint64_t)key4 << 32 | key4;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, payload + i, sizeof word);
        word ^= key8;
        memcpy(payload + i, &word, sizeof word);
    }
    for (; i < length; i++)
        payload[i] ^= key[i & 3];
}
