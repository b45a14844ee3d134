#include "payload.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_RECORD = 256 };

static void *allocate(size_t size) {
    void *memory = malloc(size);
    if (memory == NULL)
        abort();
    return memory;
}

unsigned char *make_text(size_t size) {
    unsigned char *text = allocate(size + MAX_RECORD);
    uint32_t random = 12345;
    for (size_t length = 0; length < size;) {
        random = random * 1664525u + 1013904223u;
        length += (size_t)sprintf(
            (char *)text + length,
            "{\"id\":%u,\"symbol\":\"%c%c%c\",\"price\":%u.%02u,\"size\":%u,\"side\":\"%s\"},", random >> 12,
            (char)('A' + random % 26), (char)('A' + (random >> 5) % 26), (char)('A' + (random >> 11) % 26),
            (random >> 7) % 5000, (random >> 3) % 100, (random >> 20) % 1000, random & 1024 ? "buy" : "sell");
    }
    return text;
}

/* Bits of a deflate stream, the lowest one first: RFC 1951 section 3.1.1. */
struct bit_writer {
    unsigned char *out;
    size_t length;
    uint32_t bits;
    unsigned count;
};

static void write_bits(struct bit_writer *writer, uint32_t value, unsigned count) {
    writer->bits |= value << writer->count;
    writer->count += count;
    while (writer->count >= 8) {
        writer->out[writer->length++] = (unsigned char)writer->bits;
        writer->bits >>= 8;
        writer->count -= 8;
    }
}

/* Huffman codes begin with their highest bit. */
static void write_code(struct bit_writer *writer, uint32_t code, unsigned count) {
    uint32_t reversed = 0;
    for (unsigned i = 0; i < count; i++)
        reversed |= ((code >> i) & 1) << (count - 1 - i);
    write_bits(writer, reversed, count);
}

/* A literal byte or a length in the fixed Huffman code: RFC 1951 section 3.2.6. */
static void write_symbol(struct bit_writer *writer, unsigned symbol) {
    if (symbol < 144)
        write_code(writer, 0x30 + symbol, 8);
    else if (symbol < 256)
        write_code(writer, 0x190 + symbol - 144, 9);
    else if (symbol < 280)
        write_code(writer, symbol - 256, 7);
    else
        write_code(writer, 0xC0 + symbol - 280, 8);
}

/* RFC 1951 section 3.2.5. */
static const uint16_t LENGTH_BASE[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_BITS[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                        2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t DISTANCE_BASE[24] = {1,  2,  3,  4,  5,   7,   9,   13,  17,  25,   33,   49,
                                           65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073};
static const uint8_t DISTANCE_BITS[24] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 3,  4,  4,
                                          5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10};

enum {
    END_OF_BLOCK = 256,
    FIRST_LENGTH = 257,
    MIN_MATCH = 3,
    MAX_MATCH = 258,
    MAX_DISTANCE = 3840,
    HASHES = 4096
};

static void write_reference(struct bit_writer *writer, size_t length, size_t distance) {
    unsigned code = 28;
    while (LENGTH_BASE[code] > length)
        code--;
    write_symbol(writer, FIRST_LENGTH + code);
    write_bits(writer, (uint32_t)(length - LENGTH_BASE[code]), LENGTH_BITS[code]);
    code = 23;
    while (DISTANCE_BASE[code] > distance)
        code--;
    write_code(writer, code, 5);
    write_bits(writer, (uint32_t)(distance - DISTANCE_BASE[code]), DISTANCE_BITS[code]);
}

static size_t match_length(const unsigned char *text, size_t length, size_t earlier, size_t here) {
    size_t matched = 0;
    while (matched < MAX_MATCH && here + matched < length && text[earlier + matched] == text[here + matched])
        matched++;
    return matched;
}

static unsigned hash_of(const unsigned char *text) {
    uint32_t three = (uint32_t)text[0] << 16 | (uint32_t)text[1] << 8 | text[2];
    return (three * 2654435761u) >> 20;
}

size_t deflate_bound(size_t length) { return length * 2 + 64; }

size_t deflate_text(const unsigned char *text, size_t length, unsigned char *out) {
    /* By the hash of three bytes, where they were last, plus one; 0 means nowhere. */
    static size_t last[HASHES];
    struct bit_writer writer = {.out = out};
    for (unsigned i = 0; i < HASHES; i++)
        last[i] = 0;
    write_bits(&writer, 0, 1); /* not the last block */
    write_bits(&writer, 1, 2); /* fixed Huffman codes */
    for (size_t here = 0; here < length;) {
        size_t matched = 0;
        size_t distance = 0;
        if (here + MIN_MATCH <= length) {
            unsigned hash = hash_of(text + here);
            size_t earlier = last[hash];
            last[hash] = here + 1;
            if (earlier > 0 && here - (earlier - 1) < MAX_DISTANCE) {
                distance = here - (earlier - 1);
                matched = match_length(text, length, earlier - 1, here);
            }
        }
        if (matched >= MIN_MATCH) {
            write_reference(&writer, matched, distance);
            here += matched;
        } else {
            write_symbol(&writer, text[here++]);
        }
    }
    write_symbol(&writer, END_OF_BLOCK);
    /* An empty block without compression, of which permessage-deflate omits the lengths: 00 00 FF FF. */
    write_bits(&writer, 0, 3);
    if (writer.count > 0)
        write_bits(&writer, 0, 8 - writer.count);
    return writer.length;
}
