#include "histogram.h"

/* Latencies with the same exponent share a row of 64 buckets. */
static unsigned exponent_of(uint64_t nanoseconds) {
    return nanoseconds < 64 ? 0 : 63u - (unsigned)__builtin_clzll(nanoseconds) - 5u;
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds) {
    unsigned exponent = exponent_of(nanoseconds);
    histogram->buckets[exponent * 64 + (nanoseconds >> exponent)]++;
    histogram->count++;
    if (nanoseconds > histogram->largest)
        histogram->largest = nanoseconds;
}

double histogram_quantile(const struct histogram *histogram, double share) {
    uint64_t rank = (uint64_t)(share * (double)histogram->count);
    uint64_t seen = 0;
    for (unsigned i = 0; i < 64 * 64; i++) {
        seen += histogram->buckets[i];
        if (seen > rank) {
            unsigned exponent = i / 64;
            double middle = (double)(i - exponent * 64) + 0.5;
            return middle * (double)(1ull << exponent) / 1000.0;
        }
    }
    return 0;
}
