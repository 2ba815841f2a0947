/*
 * Scenarios: the hot paths of the core, each alone, in batches that do the same work every time.
 * The program of main.c runs one under callgrind; benchmarks/micro times the same ones.
 *
 * Keys, values and the clock are made up from constants and no thread is started, so that the
 * number of instructions repeats.
 */
#ifndef AURORA_BENCHMARKS_SCENARIO_H
#define AURORA_BENCHMARKS_SCENARIO_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { SCENARIO_PAGE_BYTES = 8192, SCENARIO_KEY_BYTES = 16, SCENARIO_VALUE_BYTES = 100 };

/* One hot path. Only `run` is counted; it does `operations` operations, once after each prepare. */
typedef struct scenario {
    const char *name; /* <layer>.<path> */
    uint32_t operations;
    void (*prepare)(void);
    void (*run)(void);
    void (*finish)(void);
} scenario;

/* Each file has a list, which ends with a scenario without a name. */
extern const scenario format_scenarios[];
extern const scenario segment_scenarios[];
extern const scenario engine_scenarios[];

/* The scenarios by number; name and operations of one that does not exist are NULL and 0. */
AUR_API const char *scenario_name(size_t number);
AUR_API uint32_t scenario_operations(size_t number);
AUR_API void scenario_prepare(size_t number);
/* What callgrind counts (--toggle-collect), so nothing else calls it. */
AUR_API void scenario_run(size_t number);
AUR_API void scenario_finish(size_t number);
/* Prepares, runs and finishes without being counted: symbols are bound and memory has grown. */
AUR_API void scenario_rehearse(size_t number);

/* Compiler, C library, processor and build type, by which counts are comparable. */
AUR_API const char *scenario_build(void);

/* Ends the program: a count of a scenario that could not do its work would mean nothing. */
void scenario_fail(const char *expression, aur_status status, const aur_error *error)
    __attribute__((noreturn, cold));

#define EXPECT_OK(expression, error)                                                               \
    do {                                                                                           \
        const aur_status expected_ok = (expression);                                               \
        if (expected_ok != AUR_OK) {                                                               \
            scenario_fail(#expression, expected_ok, (error));                                      \
        }                                                                                          \
    } while (0)

/* The number-th key and value. */
void scenario_key(uint64_t number, uint8_t key[SCENARIO_KEY_BYTES]);
void scenario_value(uint64_t number, uint8_t value[SCENARIO_VALUE_BYTES]);

#endif
