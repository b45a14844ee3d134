/* UTF-8 in pieces (RFC 3629, RFC 6455 section 8.1). */

#include "utf8.h"

#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define HAVE_AVX2
#endif

#define TOP_BITS 0x8080808080808080u

static inline bool
is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Return how many bytes at the beginning are ASCII, eight at a time. */
static inline size_t
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

/* Check, byte by byte */

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
    state->bytes[0] = byte;
    state->seen = 1;
    return true;
}

static bool
continue_character(struct utf8_state *state, uint8_t byte)
{
    if (byte < state->low || byte > state->high) {
        return false;
    }
    state->low = 0x80;
    state->high = 0xBF;
    state->bytes[state->seen++] = byte;
    if (--state->expected == 0) {
        state->seen = 0;
    }
    return true;
}

static bool
check_bytes(struct utf8_state *state, const uint8_t *data, size_t length)
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
        } else if (!continue_character(state, data[i++])) {
            return false;
        }
    }
    return true;
}

/* Check, 32 bytes at a time

   The algorithm is that of J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte"
   (2021). Three tables, of the high half of a byte, of its low half, and of the high half of the byte after
   it, have a bit for each way in which two bytes can be wrong together. What is left is whether the third
   and the fourth bytes of long characters are there. */

#ifdef HAVE_AVX2

enum {
    TOO_SHORT = 1 << 0,  /* a first byte, and no continuation byte */
    TOO_LONG = 1 << 1,   /* ASCII, and a continuation byte */
    OVERLONG_3 = 1 << 2, /* E0 80..9F */
    TOO_LARGE = 1 << 3,  /* F4 90..BF, F5..FF 80..BF */
    SURROGATE = 1 << 4,  /* ED A0..BF */
    OVERLONG_2 = 1 << 5, /* C0..C1 80..BF */
    OVERLONG_4 = 1 << 6, /* F0 80..8F; the same bit: F5..FF 80..8F */
    TWO_CONTINUATIONS = 1 << 7,
    ANY_LOW = TOO_SHORT | TOO_LONG | TWO_CONTINUATIONS, /* the low half of the first byte tells nothing */
    BEYOND = ANY_LOW | TOO_LARGE | OVERLONG_4,
    CONTINUATION = TOO_LONG | OVERLONG_2 | TWO_CONTINUATIONS,
};

#define TABLE(...) _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))
#define AVX2 __attribute__((target("avx2")))

/* The bytes of two blocks, `by` bytes before those of the second one. */
#define BYTES_BEFORE(block, previous, by) \
    _mm256_alignr_epi8(block, _mm256_permute2x128_si256(previous, block, 0x21), 16 - (by))

AVX2 static inline __m256i
high_halves(__m256i bytes)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0F));
}

/* Return a vector that is not zero where something is wrong. */
AVX2 static inline __m256i
check_block(__m256i block, __m256i previous)
{
    const __m256i by_first_high = TABLE(
        TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG, TOO_LONG,
        (char)TWO_CONTINUATIONS, (char)TWO_CONTINUATIONS, (char)TWO_CONTINUATIONS, (char)TWO_CONTINUATIONS,
        TOO_SHORT | OVERLONG_2, TOO_SHORT, TOO_SHORT | OVERLONG_3 | SURROGATE,
        TOO_SHORT | TOO_LARGE | OVERLONG_4);
    const __m256i by_first_low = TABLE(
        (char)(ANY_LOW | OVERLONG_3 | OVERLONG_2 | OVERLONG_4), (char)(ANY_LOW | OVERLONG_2), (char)ANY_LOW,
        (char)ANY_LOW, (char)(ANY_LOW | TOO_LARGE), (char)BEYOND, (char)BEYOND, (char)BEYOND, (char)BEYOND,
        (char)BEYOND, (char)BEYOND, (char)BEYOND, (char)BEYOND, (char)(BEYOND | SURROGATE), (char)BEYOND,
        (char)BEYOND);
    const __m256i by_second_high = TABLE(
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT,
        (char)(CONTINUATION | OVERLONG_3 | OVERLONG_4), (char)(CONTINUATION | OVERLONG_3 | TOO_LARGE),
        (char)(CONTINUATION | SURROGATE | TOO_LARGE), (char)(CONTINUATION | SURROGATE | TOO_LARGE),
        TOO_SHORT, TOO_SHORT, TOO_SHORT, TOO_SHORT);
    __m256i first = BYTES_BEFORE(block, previous, 1);
    __m256i wrong = _mm256_and_si256(
        _mm256_shuffle_epi8(by_first_high, high_halves(first)),
        _mm256_shuffle_epi8(by_first_low, _mm256_and_si256(first, _mm256_set1_epi8(0x0F))));
    wrong = _mm256_and_si256(wrong, _mm256_shuffle_epi8(by_second_high, high_halves(block)));
    /* Two continuation bytes in a row are right where a third or a fourth byte has to be, and only there. */
    __m256i third = _mm256_subs_epu8(BYTES_BEFORE(block, previous, 2), _mm256_set1_epi8(0xE0 - 0x80));
    __m256i fourth = _mm256_subs_epu8(BYTES_BEFORE(block, previous, 3), _mm256_set1_epi8(0xF0 - 0x80));
    __m256i required = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8((char)0x80));
    return _mm256_xor_si256(wrong, required);
}

/* Check whole blocks of a text that begins between two characters. Returns the number of bytes that have
   been checked, up to the beginning of a character; SIZE_MAX if they are not valid. */
AVX2 static size_t
check_blocks(const uint8_t *data, size_t length)
{
    __m256i previous = _mm256_setzero_si256();
    __m256i wrong = _mm256_setzero_si256();
    size_t count = 0;
    for (; length - count >= 32; count += 32) {
        __m256i block = _mm256_loadu_si256((const __m256i *)(data + count));
        wrong = _mm256_or_si256(wrong, check_block(block, previous));
        previous = block;
    }
    if (!_mm256_testz_si256(wrong, wrong)) {
        return SIZE_MAX;
    }
    /* The last character may go on beyond the last block. */
    size_t back = 0;
    while (back < 3 && back < count && is_continuation(data[count - back - 1])) {
        back++;
    }
    if (back < count && data[count - back - 1] >= 0xC0) {
        back++;
    } else {
        back = 0;
    }
    return count - back;
}

#endif

/* Below, it does not pay to prepare for blocks. */
#define BLOCKS_FROM 64

bool
utf8_check(struct utf8_state *state, const uint8_t *data, size_t length)
{
#ifdef HAVE_AVX2
    if (length >= BLOCKS_FROM && __builtin_cpu_supports("avx2")) {
        for (; state->expected != 0; data++, length--) {
            if (!continue_character(state, *data)) {
                return false;
            }
        }
        size_t count = check_blocks(data, length);
        if (count == SIZE_MAX) {
            return false;
        }
        data += count;
        length -= count;
    }
#endif
    return check_bytes(state, data, length);
}

/* Decode */

struct utf8_size
utf8_measure(const uint8_t *data, size_t length)
{
    struct utf8_size size = {0, 1};
    uint8_t greatest = 0;
    for (size_t i = 0; i < length;) {
        /* The count of a part fits in few bits, so that the compiler can count many bytes at once. */
        size_t end = length - i < 240 ? length : i + 240;
        uint8_t count = 0;
        for (; i < end; i++) {
            count += !is_continuation(data[i]);
            greatest = data[i] > greatest ? data[i] : greatest;
        }
        size.characters += count;
    }
    if (greatest >= 0xF0) { /* the first byte of U+10000 and beyond */
        size.width = 4;
    } else if (greatest >= 0xC4) { /* that of U+0100 and beyond */
        size.width = 2;
    }
    return size;
}

static inline uint32_t
decode_2_bytes(const uint8_t *data)
{
    return (uint32_t)(data[0] & 0x1F) << 6 | (data[1] & 0x3F);
}

static inline uint32_t
decode_3_bytes(const uint8_t *data)
{
    return (uint32_t)(data[0] & 0x0F) << 12 | (uint32_t)(data[1] & 0x3F) << 6 | (data[2] & 0x3F);
}

static inline uint32_t
decode_4_bytes(const uint8_t *data)
{
    return (uint32_t)(data[0] & 0x07) << 18 | (uint32_t)(data[1] & 0x3F) << 12
           | (uint32_t)(data[2] & 0x3F) << 6 | (data[3] & 0x3F);
}

/* The same for code points of each width. Texts have runs of characters of one length, which an inner loop
   decodes without deciding anew; ASCII is copied eight bytes at a time. */
#define DEFINE_DECODE(name, code_point)                                            \
    void name(const uint8_t *data, size_t length, code_point *out)                 \
    {                                                                              \
        const uint8_t *end = data + length;                                        \
        while (data < end) {                                                       \
            size_t ascii = skip_ascii(data, (size_t)(end - data));                 \
            for (size_t i = 0; i < ascii; i++) {                                   \
                out[i] = data[i];                                                  \
            }                                                                      \
            data += ascii, out += ascii;                                           \
            for (; data < end && *data < 0x80; data++) {                           \
                *out++ = *data;                                                    \
            }                                                                      \
            for (; data < end && *data >= 0xC0 && *data < 0xE0; data += 2) {       \
                *out++ = (code_point)decode_2_bytes(data);                         \
            }                                                                      \
            for (; data < end && *data >= 0xE0 && *data < 0xF0; data += 3) {       \
                *out++ = (code_point)decode_3_bytes(data);                         \
            }                                                                      \
            for (; data < end && *data >= 0xF0; data += 4) {                       \
                *out++ = (code_point)decode_4_bytes(data);                         \
            }                                                                      \
        }                                                                          \
    }

DEFINE_DECODE(utf8_decode_1, uint8_t)
DEFINE_DECODE(utf8_decode_2, uint16_t)
DEFINE_DECODE(utf8_decode_4, uint32_t)
