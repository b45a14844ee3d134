/* The header of a frame (RFC 6455 section 5.2). Does not use Python. */

#ifndef WSPROTO_CORE_FRAME_H
#define WSPROTO_CORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_FIN 0x80
#define FRAME_RESERVED_BITS 0x70
#define FRAME_RSV1 0x40
#define FRAME_OPCODE 0x0F
#define FRAME_MASKED 0x80

enum opcode {
    OPCODE_CONTINUATION = 0x0,
    OPCODE_TEXT = 0x1,
    OPCODE_BINARY = 0x2,
    OPCODE_CLOSE = 0x8,
    OPCODE_PING = 0x9,
    OPCODE_PONG = 0xA,
};

/* Two bytes, an eight-byte length and a masking key. */
#define FRAME_HEADER_MAX 14

struct frame_header {
    uint8_t first;   /* FIN, the reserved bits and the opcode */
    bool masked;
    uint32_t key;    /* the masking key, see mask.h; 0 if there is none */
    uint64_t length; /* bytes in the payload */
    size_t size;     /* bytes in this header */
};

enum header_result {
    HEADER_COMPLETE,
    HEADER_INCOMPLETE, /* more bytes are needed */
    HEADER_INVALID,    /* the length is not in its shortest form, or has its top bit set */
};

/* Parse the header at the beginning of `available` bytes. `header` is filled if it is complete.

   An invalid length is found before the masking key has arrived. Nothing else is checked. */
enum header_result parse_header(const uint8_t *data, size_t available, struct frame_header *header);

/* Write the header of a frame.

   `first` is FIN, the reserved bits and the opcode; `length` counts the bytes of the payload; `key` is used
   if `masked`. Returns the size of the header. */
size_t encode_header(uint8_t out[FRAME_HEADER_MAX], uint8_t first, uint64_t length, bool masked, uint32_t key);

#endif
