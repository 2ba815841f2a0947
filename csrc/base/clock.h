/* Time is passed in, so that a simulator can own it. */
#ifndef AUR_BASE_CLOCK_H
#define AUR_BASE_CLOCK_H

#include <stdint.h>

typedef struct aur_clock {
    void *context;
    uint64_t (*wall_us)(void *context); /* microseconds since 1970; may jump, users make it monotone
                                           where they need */
} aur_clock;

/* The operating system's clock. */
aur_clock aur_clock_system(void);

#endif
