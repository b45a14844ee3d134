/* Clocks: time, and CPU time of this process and of another one. */
#ifndef CLOCKS_H
#define CLOCKS_H

#include <stdint.h>
#include <sys/types.h>

/* Monotonic time in nanoseconds. */
uint64_t now_ns(void);

/* CPU time of this process, in seconds. */
double cpu_seconds(void);

/* CPU time of another process with all of its threads, in seconds; 0 if it cannot be known. */
double cpu_seconds_of(pid_t process);

#endif
