#include "base/clock.h"

#include <stddef.h>
#include <time.h>

static uint64_t system_wall_us(void *context) {
    struct timespec now;
    (void)context;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || now.tv_sec < 0) {
        return 0;
    }
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

aur_clock aur_clock_system(void) { return (aur_clock){.context = NULL, .wall_us = system_wall_us}; }
