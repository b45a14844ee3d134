/* Frames: RFC 6455 section 5.2. */
#ifndef FRAMES_H
#define FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opcode { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

enum { FIN = 0x80, RSV1 = 0x40, RSV2_RSV3 = 0x30, MASKED = 0x80, MAX_HEADER = 14, MAX_CONTROL = 125 };

/* Writes a header without a masking key; returns its length. */
size_t write_header(unsigned char *out, unsigned first_byte, bool masked, uint64_t payload_length);

/* Writes a frame of a client, which is masked with a fixed key; returns its length. */
size_t write_masked_frame(unsigned char *out, unsigned first_byte, const void *payload, size_t length);

/* The length of the header that begins with these two bytes, the masking key included. */
size_t header_length(const unsigned char first_bytes[2]);

/* The length of the payload, given the whole header. */
uint64_t payload_length(const unsigned char *header);

/* XORs the payload in place with the masking key. */
void apply_mask(unsigned char *payload, size_t length, const unsigned char key[4]);

#endif
