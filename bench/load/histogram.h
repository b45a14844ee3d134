/* A histogram of latencies: 64 buckets for each power of two, so that the error is less than 1.6 %. */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

struct histogram {
    uint64_t buckets[64 * 64];
    uint64_t count;
    uint64_t largest;
};

void histogram_add(struct histogram *histogram, uint64_t nanoseconds);

/* The latency in microseconds that the given share of all latencies, between 0 and 1, does not exceed. */
double histogram_quantile(const struct histogram *histogram, double share);

#endif
