/* The time of day is passed in, so that a simulator can own it. How long a thread has waited is the
 * machine's. */
#ifndef AUR_BASE_CLOCK_H
#define AUR_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define AUR_NS_PER_SECOND UINT64_C(1000000000)

typedef struct aur_clock {
    void *context;
    uint64_t (*wall_us)(void *context); /* microseconds since 1970; may jump, users make it monotone
                                           where they need */
} aur_clock;

/* The operating system's clock. */
aur_clock aur_clock_system(void);

/* CLOCK_MONOTONIC: from a moment in the past that means nothing, never back. */
uint64_t aur_monotonic_ns(void);

/* A moment of that clock, or a length of time. */
static inline struct timespec aur_timespec_of(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / AUR_NS_PER_SECOND),
                             .tv_nsec = (long)(ns % AUR_NS_PER_SECOND)};
}

#endif
