/* The scenarios by number, and what they share. */
#include "scenario.h"

#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/endian.h"
#include "base/random.h"

/* Data that differs must be made by numbers that differ in more than this. */
enum { NUMBERS_APART = 1 << 20 };

static const scenario *find(size_t number) {
    const scenario *const lists[] = {format_scenarios, segment_scenarios, engine_scenarios};
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
        for (const scenario *at = lists[list]; at->name != NULL; at++) {
            if (number-- == 0) {
                return at;
            }
        }
    }
    return NULL;
}

const char *scenario_name(size_t number) {
    const scenario *found = find(number);
    return found == NULL ? NULL : found->name;
}

uint32_t scenario_operations(size_t number) {
    const scenario *found = find(number);
    return found == NULL ? 0 : found->operations;
}

void scenario_prepare(size_t number) { find(number)->prepare(); }

void scenario_run(size_t number) { find(number)->run(); }

void scenario_finish(size_t number) { find(number)->finish(); }

void scenario_rehearse(size_t number) {
    const scenario *found = find(number);
    found->prepare();
    found->run();
    found->finish();
}

/* Callgrind shows programs one processor for each of these levels, whatever the machine has beyond
 * it (no AVX-512, for one), so the C library and zstd choose the same code within a level. */
static const char *processor(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") ? "x86_64-v3"
                                                                            : "x86_64";
#elif defined(__aarch64__)
    return "aarch64";
#else
    return "other";
#endif
}

const char *scenario_build(void) {
#if defined(__clang__)
    const char *compiler = "clang";
    const int major = __clang_major__;
#else
    const char *compiler = "gcc";
    const int major = __GNUC__;
#endif
    static char build[128];
    (void)snprintf(build, sizeof build, "%s %s-%d glibc-%s %s", processor(), compiler, major,
                   gnu_get_libc_version(), SCENARIO_BUILD_TYPE);
    return build;
}

void scenario_fail(const char *expression, aur_status status, const aur_error *error) {
    (void)fprintf(stderr, "%s gave %d (%s): %s\n", expression, (int)status, aur_status_text(status),
                  error == NULL ? "" : error->message);
    abort();
}

void scenario_key(uint64_t number, uint8_t key[SCENARIO_KEY_BYTES]) {
    aur_random random = aur_random_seeded(number * NUMBERS_APART);
    for (size_t at = 0; at < SCENARIO_KEY_BYTES; at += sizeof(uint64_t)) {
        aur_put64(key + at, aur_random_next(&random));
    }
}

void scenario_value(uint64_t number, uint8_t value[SCENARIO_VALUE_BYTES]) {
    aur_random random = aur_random_seeded(~number * NUMBERS_APART);
    for (size_t at = 0; at < SCENARIO_VALUE_BYTES; at++) {
        value[at] = (uint8_t)aur_random_next(&random);
    }
}
