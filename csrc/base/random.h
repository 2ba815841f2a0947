/*
 * A small seeded generator (splitmix64) for faults and tests: the same seed gives the same numbers
 * on every machine. Not for secrets. The state belongs to its user; there is no shared one.
 */
#ifndef AUR_BASE_RANDOM_H
#define AUR_BASE_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct aur_random {
    uint64_t state;
} aur_random;

static inline aur_random aur_random_seeded(uint64_t seed) { return (aur_random){seed}; }

static inline uint64_t aur_random_next(aur_random *random) {
    uint64_t mixed = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

/* A number from 0 to limit - 1; limit is above 0. The bias of the remainder does not matter here.
 */
static inline uint64_t aur_random_below(aur_random *random, uint64_t limit) {
    return aur_random_next(random) % limit;
}

/* True in `ppm` of a million calls. Draws nothing when ppm is 0, so that an unused fault leaves the
 * sequence alone. */
static inline bool aur_random_chance(aur_random *random, uint32_t ppm) {
    return ppm != 0 && aur_random_below(random, 1000000) < ppm;
}

#endif
