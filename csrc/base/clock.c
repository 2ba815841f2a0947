#include "base/clock.h"

#include <stddef.h>

static uint64_t system_wall_us(void *context) {
    struct timespec now;
    (void)context;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || now.tv_sec < 0) {
        return 0;
    }
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

aur_clock aur_clock_system(void) { return (aur_clock){.context = NULL, .wall_us = system_wall_us}; }

uint64_t aur_monotonic_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* it does not fail on a clock that there is */
    return (uint64_t)now.tv_sec * AUR_NS_PER_SECOND + (uint64_t)now.tv_nsec;
}
