/* Masking (RFC 6455 section 5.3).

   The widest registers of the processor do the work. AVX2 is chosen at run time, as not every x86 has it;
   SSE2 and NEON are part of x86-64 and of 64-bit ARM. Stores are ordinary ones: what is unmasked here is
   read next, so that it should stay in the cache. */

#include "mask.h"

#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define HAVE_AVX2
#define HAVE_SSE2
#elif defined(_M_X64)
#include <emmintrin.h>
#define HAVE_SSE2
#elif defined(__aarch64__) || defined(_M_ARM64)
#include <arm_neon.h>
#define HAVE_NEON
#endif

#define TOP_BITS 0x8080808080808080u

/* Below, the call of another function costs more than AVX2 saves. */
#define AVX2_FROM 64

uint32_t
rotate_key(uint32_t key, size_t by)
{
    uint8_t bytes[8];
    memcpy(bytes, &key, 4);
    memcpy(bytes + 4, &key, 4);
    memcpy(&key, bytes + by % 4, 4);
    return key;
}

/* Mask in words, the last bytes one by one; return the bitwise OR of all output, of which only the top bits
   of bytes have a meaning. */
static uint64_t
mask_words(uint8_t *to, const uint8_t *from, size_t length, uint32_t key)
{
    uint64_t key_twice = (uint64_t)key << 32 | key;
    uint64_t seen = 0;
    uint64_t word;
    for (; length >= 8; length -= 8, to += 8, from += 8) {
        memcpy(&word, from, 8);
        word ^= key_twice;
        memcpy(to, &word, 8);
        seen |= word;
    }
    if (length >= 4) {
        uint32_t half;
        memcpy(&half, from, 4);
        half ^= key;
        memcpy(to, &half, 4);
        seen |= half;
        length -= 4, to += 4, from += 4;
    }
    uint8_t key_bytes[4];
    memcpy(key_bytes, &key, 4);
    for (size_t i = 0; i < length; i++) {
        to[i] = from[i] ^ key_bytes[i];
        seen |= to[i];
    }
    return seen & TOP_BITS;
}

#ifdef HAVE_AVX2
/* A round is four registers, which the processor loads and stores in parallel. */
__attribute__((target("avx2"))) static bool
mask_avx2(uint8_t *to, const uint8_t *from, size_t length, uint32_t key)
{
    const __m256i keys = _mm256_set1_epi32((int)key);
    __m256i seen[4] = {_mm256_setzero_si256()};
    seen[1] = seen[2] = seen[3] = seen[0];
    for (; length >= 128; length -= 128, to += 128, from += 128) {
        __m256i block[4];
        for (int i = 0; i < 4; i++) {
            block[i] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from + i), keys);
        }
        for (int i = 0; i < 4; i++) {
            _mm256_storeu_si256((__m256i *)to + i, block[i]);
            seen[i] = _mm256_or_si256(seen[i], block[i]);
        }
    }
    for (; length >= 32; length -= 32, to += 32, from += 32) {
        __m256i block = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from), keys);
        _mm256_storeu_si256((__m256i *)to, block);
        seen[0] = _mm256_or_si256(seen[0], block);
    }
    seen[0] = _mm256_or_si256(_mm256_or_si256(seen[0], seen[1]), _mm256_or_si256(seen[2], seen[3]));
    bool top_bit = _mm256_movemask_epi8(seen[0]) != 0;
    return mask_words(to, from, length, key) != 0 || top_bit;
}
#endif

bool
mask_copy(uint8_t *to, const uint8_t *from, size_t length, uint32_t key)
{
    bool top_bit = false;
#if defined(HAVE_AVX2)
    if (length >= AVX2_FROM && __builtin_cpu_supports("avx2")) {
        return mask_avx2(to, from, length, key);
    }
#endif
#if defined(HAVE_SSE2)
    const __m128i keys = _mm_set1_epi32((int)key);
    __m128i seen = _mm_setzero_si128();
    for (; length >= 16; length -= 16, to += 16, from += 16) {
        __m128i block = _mm_xor_si128(_mm_loadu_si128((const __m128i *)from), keys);
        _mm_storeu_si128((__m128i *)to, block);
        seen = _mm_or_si128(seen, block);
    }
    top_bit = _mm_movemask_epi8(seen) != 0;
#elif defined(HAVE_NEON)
    const uint8x16_t keys = vreinterpretq_u8_u32(vdupq_n_u32(key));
    uint8x16_t seen = vdupq_n_u8(0);
    for (; length >= 16; length -= 16, to += 16, from += 16) {
        uint8x16_t block = veorq_u8(vld1q_u8(from), keys);
        vst1q_u8(to, block);
        seen = vorrq_u8(seen, block);
    }
    top_bit = vmaxvq_u8(seen) >= 0x80;
#endif
    return mask_words(to, from, length, key) != 0 || top_bit;
}
