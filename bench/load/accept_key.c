#include "accept_key.h"

#include <stdint.h>
#include <string.h>

enum { DIGEST = 20, BLOCK = 64 };

static uint32_t rotate_left(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void sha1_block(uint32_t state[5], const unsigned char block[BLOCK]) {
    uint32_t words[80];
    for (int i = 0; i < 16; i++)
        words[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 80; i++)
        words[i] = rotate_left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t mixed, constant;
        if (i < 20)
            mixed = (b & c) | (~b & d), constant = 0x5A827999;
        else if (i < 40)
            mixed = b ^ c ^ d, constant = 0x6ED9EBA1;
        else if (i < 60)
            mixed = (b & c) | (b & d) | (c & d), constant = 0x8F1BBCDC;
        else
            mixed = b ^ c ^ d, constant = 0xCA62C1D6;
        uint32_t next = rotate_left(a, 5) + mixed + e + constant + words[i];
        e = d, d = c, c = rotate_left(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* SHA-1 of at least 56 and fewer than 64 bytes, which fill two blocks with the padding. */
static void sha1(const unsigned char *message, size_t length, unsigned char digest[DIGEST]) {
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char blocks[2 * BLOCK] = {0};
    memcpy(blocks, message, length);
    blocks[length] = 0x80;
    for (int i = 0; i < 8; i++)
        blocks[2 * BLOCK - 1 - i] = (unsigned char)((uint64_t)length * 8 >> (8 * i));
    sha1_block(state, blocks);
    sha1_block(state, blocks + BLOCK);
    for (int i = 0; i < DIGEST; i++)
        digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const unsigned char digest[DIGEST], char text[ACCEPT_LENGTH + 1]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = text;
    for (int i = 0; i < DIGEST; i += 3) {
        uint32_t group = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8;
        if (i + 2 < DIGEST)
            group |= digest[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *out++ = alphabet[group >> shift & 63];
    }
    text[ACCEPT_LENGTH - 1] = '=';
    text[ACCEPT_LENGTH] = '\0';
}

void accept_key(const char *key, char accept[ACCEPT_LENGTH + 1]) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char joined[KEY_LENGTH + sizeof guid - 1];
    unsigned char digest[DIGEST];
    memcpy(joined, key, KEY_LENGTH);
    memcpy(joined + KEY_LENGTH, guid, sizeof guid - 1);
    sha1(joined, sizeof joined, digest);
    base64(digest, accept);
}
