/* Runs a target without libFuzzer: on each file that is named, and then on inputs made of these files, as many
   as the first argument says. The same arguments give the same inputs. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST 4096

static uint64_t state = 88172645463325252u;

/* xorshift64 (Marsaglia, 2003) */
static uint64_t
next_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static size_t
read_file(const char *name, uint8_t *out)
{
    FILE *file = fopen(name, "rb");
    if (file == NULL) {
        perror(name);
        exit(2);
    }
    size_t size = fread(out, 1, LONGEST, file);
    fclose(file);
    return size;
}

static void
run(const uint8_t *data, size_t size)
{
    /* In memory of its own, as libFuzzer gives it. */
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) {
        exit(2);
    }
    memcpy(copy, data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int
main(int count, char **arguments)
{
    static uint8_t data[LONGEST], other[LONGEST];
    if (count < 3) {
        fprintf(stderr, "usage: %s RUNS FILE...\n", arguments[0]);
        return 2;
    }
    size_t files = (size_t)count - 2;
    for (size_t i = 0; i < files; i++) {
        run(data, read_file(arguments[i + 2], data));
    }
    long runs = atol(arguments[1]);
    for (long i = 0; i < runs; i++) {
        size_t size = read_file(arguments[next_number() % files + 2], data);
        size_t other_size = read_file(arguments[next_number() % files + 2], other);
        for (size_t changes = next_number() % 4; changes > 0 && size > 0; changes--) {
            data[next_number() % size] = (uint8_t)next_number();
        }
        if (next_number() % 2 && other_size > 0) {
            /* Go on with the end of another one. */
            size_t from = next_number() % other_size;
            size_t at = size > 0 ? next_number() % size : 0;
            size_t length = other_size - from < LONGEST - at ? other_size - from : LONGEST - at;
            memcpy(data + at, other + from, length);
            size = at + length;
        }
        run(data, size);
    }
    return 0;
}
