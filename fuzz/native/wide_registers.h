/* A choice between the code for the widest registers and the code for others, for files that are included after
   this one. */

#ifndef FUZZ_WIDE_REGISTERS_H
#define FUZZ_WIDE_REGISTERS_H

#include <stdbool.h>

static bool wide_registers;

/* The widest registers are used only where this says so. */
#define __builtin_cpu_supports(feature) (wide_registers && __builtin_cpu_supports(feature))

#endif
