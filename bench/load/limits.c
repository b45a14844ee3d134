/*
 * limits: what memory and zlib allow on one processor. Usage: limits SIZE ...
 *
 * Prints one line of JSON for each size, with megabytes a second of CPU time:
 *
 *   memcpy          Copy.
 *   mask_copy       Mask while copying.
 *   mask_in_place   Mask in place.
 *   deflate         Compress text like JSON, level 6.
 *   inflate         Decompress it.
 *
 * and for what happens to a message, from the kernel's copy into a read buffer to the new object:
 *
 *   receive_streaming  Mask in place with non-temporal stores, then copy.
 *   receive_in_place   Mask in place with ordinary stores, then copy.
 *   receive_copying    Mask while copying.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "clocks.h"
#include "payload.h"

static const uint32_t KEY = 0x3d21fa37;

/* A batch is long enough that to read the clock costs nothing beside it. */
enum { RUNS = 3, BATCH_BYTES = 1 << 20, ALIGNMENT = 64 };
#define RUN_SECONDS 0.05

/* What the measured functions work on. */
struct work {
    size_t size;
    unsigned char *text;   /* the payload */
    unsigned char *buffer; /* the read buffer, aligned */
    unsigned char *object; /* the new object */
    unsigned char *compressed;
    size_t compressed_length;
    z_stream deflater, inflater;
};

__attribute__((noinline)) static void mask_copy(unsigned char *restrict to,
                                                const unsigned char *restrict from, size_t size) {
    size_t i = 0;
    for (; i + 4 <= size; i += 4) {
        uint32_t word;
        memcpy(&word, from + i, sizeof word);
        word ^= KEY;
        memcpy(to + i, &word, sizeof word);
    }
    for (; i < size; i++)
        to[i] = (unsigned char)(from[i] ^ (KEY >> (8 * (i & 3))));
}

__attribute__((noinline)) static void mask_in_place(unsigned char *bytes, size_t size) {
    size_t i = 0;
    for (; i + 4 <= size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, sizeof word);
        word ^= KEY;
        memcpy(bytes + i, &word, sizeof word);
    }
    for (; i < size; i++)
        bytes[i] = (unsigned char)(bytes[i] ^ (KEY >> (8 * (i & 3))));
}

__attribute__((noinline)) static void mask_streaming(unsigned char *bytes, size_t size) {
#ifdef __SSE2__
    __m128i key = _mm_set1_epi32((int)KEY);
    size_t whole = size / 16 * 16;
    for (size_t i = 0; i < whole; i += 16) {
        __m128i *block = (__m128i *)(void *)(bytes + i);
        _mm_stream_si128(block, _mm_xor_si128(_mm_load_si128(block), key));
    }
    mask_in_place(bytes + whole, size - whole);
#else
    mask_in_place(bytes, size);
#endif
}

static void run_memcpy(struct work *work) { memcpy(work->object, work->text, work->size); }
static void run_mask_copy(struct work *work) { mask_copy(work->object, work->text, work->size); }
static void run_mask_in_place(struct work *work) { mask_in_place(work->buffer, work->size); }

static void run_receive_streaming(struct work *work) {
    memcpy(work->buffer, work->text, work->size);
    mask_streaming(work->buffer, work->size);
    memcpy(work->object, work->buffer, work->size);
}

static void run_receive_in_place(struct work *work) {
    memcpy(work->buffer, work->text, work->size);
    mask_in_place(work->buffer, work->size);
    memcpy(work->object, work->buffer, work->size);
}

static void run_receive_copying(struct work *work) {
    memcpy(work->buffer, work->text, work->size);
    mask_copy(work->object, work->buffer, work->size);
}

static void run_deflate(struct work *work) {
    z_stream *stream = &work->deflater;
    size_t room = deflate_bound(work->size);
    deflateReset(stream);
    stream->next_in = work->text;
    stream->avail_in = (uInt)work->size;
    stream->next_out = work->compressed;
    stream->avail_out = (uInt)room;
    deflate(stream, Z_SYNC_FLUSH);
    work->compressed_length = room - stream->avail_out;
}

static void run_inflate(struct work *work) {
    z_stream *stream = &work->inflater;
    inflateReset(stream);
    stream->next_in = work->compressed;
    stream->avail_in = (uInt)work->compressed_length;
    stream->next_out = work->object;
    stream->avail_out = (uInt)work->size + 64;
    inflate(stream, Z_SYNC_FLUSH);
}

static const struct {
    const char *name;
    void (*run)(struct work *work);
} LIMITS[] = {
    {"memcpy", run_memcpy},
    {"mask_copy", run_mask_copy},
    {"mask_in_place", run_mask_in_place},
    {"receive_streaming", run_receive_streaming},
    {"receive_in_place", run_receive_in_place},
    {"receive_copying", run_receive_copying},
    {"deflate", run_deflate}, /* before inflate, which needs its output */
    {"inflate", run_inflate},
};

/* Megabytes a second of CPU time, of the best of several runs. */
static double measure(struct work *work, void (*run)(struct work *work)) {
    size_t batch = BATCH_BYTES / work->size + 1;
    double best = 0;
    for (int i = 0; i < RUNS; i++) {
        double start = cpu_seconds(), elapsed;
        size_t count = 0;
        do {
            for (size_t k = 0; k < batch; k++) {
                run(work);
                __asm__ volatile("" ::: "memory"); /* nothing is optimized away */
            }
            count += batch;
            elapsed = cpu_seconds() - start;
        } while (elapsed < RUN_SECONDS);
        double rate = (double)count * (double)work->size / elapsed / 1e6;
        if (rate > best)
            best = rate;
    }
    return best;
}

static void *allocate(size_t size) {
    void *memory = aligned_alloc(ALIGNMENT, (size + 2 * ALIGNMENT) / ALIGNMENT * ALIGNMENT);
    if (memory == NULL)
        abort();
    return memory;
}

static bool measure_size(size_t size) {
    struct work work = {.size = size, .text = make_text(size)};
    work.buffer = allocate(size);
    work.object = allocate(size + 64);
    work.compressed = allocate(deflate_bound(size));
    deflateInit2(&work.deflater, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY);
    inflateInit2(&work.inflater, -15);
    memcpy(work.buffer, work.text, size);
    printf("{\"size\": %zu", size);
    for (size_t i = 0; i < sizeof LIMITS / sizeof LIMITS[0]; i++)
        printf(", \"%s\": %.0f", LIMITS[i].name, measure(&work, LIMITS[i].run));
    printf("}\n");
    bool equal = memcmp(work.text, work.object, size) == 0;
    deflateEnd(&work.deflater);
    inflateEnd(&work.inflater);
    free(work.text);
    free(work.buffer);
    free(work.object);
    free(work.compressed);
    return equal;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!measure_size(strtoul(argv[i], NULL, 10)))
            return 1;
    return 0;
}
