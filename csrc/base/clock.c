#include "base/clock.h"

#include <stddef.h>
#include <time.h>

enum { NANOSECONDS_PER_MICROSECOND = 1000 };

static uint64_t system_wall_us(void *context) {
    (void)context;
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail for a clock that every Linux has */
    return (uint64_t)now.tv_sec * UINT64_C(1000000) +
           (uint64_t)now.tv_nsec / NANOSECONDS_PER_MICROSECOND;
}

aur_clock aur_clock_system(void) { return (aur_clock){.context = NULL, .wall_us = system_wall_us}; }
