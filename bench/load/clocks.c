#define _GNU_SOURCE
#include "clocks.h"

#include <time.h>

static double seconds_of_clock(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        return 0;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

double cpu_seconds(void) { return seconds_of_clock(CLOCK_PROCESS_CPUTIME_ID); }

double cpu_seconds_of(pid_t process) {
    clockid_t clock;
    if (process == 0 || clock_getcpuclockid(process, &clock) != 0)
        return 0;
    return seconds_of_clock(clock);
}
