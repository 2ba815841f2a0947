/*
 * A small test harness: one test file is one executable, and this header is all of it.
 *
 *     #include "harness.h"
 *     #include "format/page.h"
 *
 *     TEST(page_checksum_detects_a_flipped_bit)
 *     {
 *         CHECK(page != NULL);
 *         CHECK_EQ_U64(aur_page_lsn(page), 7);
 *         CHECK_STATUS(aur_page_verify(page), AUR_ERR_CORRUPT);
 *     }
 *
 * TEST registers itself; main() is here too (weak, so a file may bring its own). A file named
 * tests/c/<layer>/test_<layer>_<name>.c is found by CMake and known to ctest as <layer>.<name>.
 * Other .c files in that folder are helpers, linked into every test of the layer; they may use
 * CHECK too.
 *
 * Arguments: [--seed N] [--list] [--keep] [part of a test name]...
 * The seed is printed first and replays every value of random_u64(); AURORA_TEST_SEED sets it too.
 * The first failed CHECK ends the process with status 1 and leaves the temporary folder in place.
 */
#ifndef AURORA_TESTS_HARNESS_H
#define AURORA_TESTS_HARNESS_H

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Weak: every object file of one executable shares one copy, whichever includes this header. */
#define HARNESS_SHARED __attribute__((weak, unused))

typedef struct harness_test {
    const char *name;
    void (*run)(void);
    struct harness_test *next;
} harness_test;

typedef struct harness_state {
    harness_test *first;
    harness_test **last;
    const char *running;
    uint64_t seed;
    uint64_t random;
    char temp_dir[512];
} harness_state;

HARNESS_SHARED harness_state harness;

HARNESS_SHARED void harness_register(harness_test *test) {
    if (harness.last == NULL)
        harness.last = &harness.first;
    *harness.last = test;
    harness.last = &test->next;
}

#define TEST(test_name)                                                                            \
    static void test_name(void);                                                                   \
    static harness_test harness_test_##test_name = {#test_name, test_name, NULL};                  \
    __attribute__((constructor)) static void harness_register_##test_name(void) {                  \
        harness_register(&harness_test_##test_name);                                               \
    }                                                                                              \
    static void test_name(void)

/* Ends the test run; `format` is printf's and tells the values that made the check fail. */
HARNESS_SHARED __attribute__((noreturn, format(printf, 3, 4))) void
harness_fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fflush(stdout);
    fprintf(stderr, "FAILED %s at %s:%d: ", harness.running ? harness.running : "?", file, line);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n  replay: --seed %" PRIu64 " %s\n", harness.seed,
            harness.running ? harness.running : "");
    if (harness.temp_dir[0] != '\0')
        fprintf(stderr, "  files:  %s\n", harness.temp_dir);
    va_end(arguments);
    fflush(stderr);
    _exit(1);
}

#define FAIL(...) harness_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL("%s", #condition);                                                                \
    } while (0)

/* CHECK with a printf message, for loops where the expression alone does not tell which round. */
#define CHECK_MSG(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            FAIL(__VA_ARGS__);                                                                     \
    } while (0)

#define HARNESS_COMPARE(type, print, left, operator, right)                                        \
    do {                                                                                           \
        type left_value = (left);                                                                  \
        type right_value = (right);                                                                \
        if (!(left_value operator right_value))                                                    \
            FAIL("%s %s %s: %" print " against %" print, #left, #operator, #right, left_value,     \
                 right_value);                                                                     \
    } while (0)

#define CHECK_EQ_U64(left, right) HARNESS_COMPARE(uint64_t, PRIu64, left, ==, right)
#define CHECK_NE_U64(left, right) HARNESS_COMPARE(uint64_t, PRIu64, left, !=, right)
#define CHECK_LE_U64(left, right) HARNESS_COMPARE(uint64_t, PRIu64, left, <=, right)
#define CHECK_EQ_I64(left, right) HARNESS_COMPARE(int64_t, PRId64, left, ==, right)

/* Any integer status: expected stands last, as in the text of a test. */
#define CHECK_STATUS(expression, expected)                                                         \
    do {                                                                                           \
        long long status_value = (long long)(expression);                                          \
        long long expected_value = (long long)(expected);                                          \
        if (status_value != expected_value)                                                        \
            FAIL("%s gave %lld, expected %s = %lld", #expression, status_value, #expected,         \
                 expected_value);                                                                  \
    } while (0)

#define CHECK_OK(expression) CHECK_STATUS(expression, 0)

#define CHECK_EQ_MEM(left, right, size_bytes)                                                      \
    do {                                                                                           \
        const unsigned char *left_bytes = (const unsigned char *)(left);                           \
        const unsigned char *right_bytes = (const unsigned char *)(right);                         \
        for (size_t at = 0; at < (size_t)(size_bytes); at++) {                                     \
            if (left_bytes[at] != right_bytes[at])                                                 \
                FAIL("%s and %s differ at byte %zu: %02x against %02x", #left, #right, at,         \
                     left_bytes[at], right_bytes[at]);                                             \
        }                                                                                          \
    } while (0)

#define CHECK_EQ_STR(left, right)                                                                  \
    do {                                                                                           \
        const char *left_text = (left);                                                            \
        const char *right_text = (right);                                                          \
        if (strcmp(left_text, right_text) != 0)                                                    \
            FAIL("%s == %s: \"%s\" against \"%s\"", #left, #right, left_text, right_text);         \
    } while (0)

/* splitmix64. Not thread-safe: give each thread a state of its own, seeded from random_u64(). */
HARNESS_SHARED uint64_t harness_random_next(uint64_t *state) {
    uint64_t mixed = (*state += UINT64_C(0x9e3779b97f4a7c15));
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ (mixed >> 31);
}

HARNESS_SHARED uint64_t random_u64(void) { return harness_random_next(&harness.random); }

/* A number from 0 to limit - 1; limit is above 0. */
HARNESS_SHARED uint64_t random_below(uint64_t limit) { return random_u64() % limit; }

HARNESS_SHARED void random_bytes(void *bytes, size_t size_bytes) {
    for (size_t at = 0; at < size_bytes; at++)
        ((unsigned char *)bytes)[at] = (unsigned char)random_u64();
}

/* A folder of this process, made at the first call and removed when all tests have passed. */
HARNESS_SHARED const char *temp_dir(void) {
    if (harness.temp_dir[0] == '\0') {
        const char *parent = getenv("TMPDIR");
        snprintf(harness.temp_dir, sizeof harness.temp_dir, "%s/aurora-test-XXXXXX",
                 parent != NULL && parent[0] != '\0' ? parent : "/tmp");
        if (mkdtemp(harness.temp_dir) == NULL)
            FAIL("mkdtemp %s: %s", harness.temp_dir, strerror(errno));
    }
    return harness.temp_dir;
}

/* Writes temp_dir() + "/" + name into `path` and returns it. */
HARNESS_SHARED char *temp_path(char *path, size_t path_size_bytes, const char *name) {
    int length = snprintf(path, path_size_bytes, "%s/%s", temp_dir(), name);
    CHECK(length > 0 && (size_t)length < path_size_bytes);
    return path;
}

HARNESS_SHARED int harness_remove_entry(const char *path, const struct stat *status, int kind,
                                        struct FTW *position) {
    (void)status;
    (void)kind;
    (void)position;
    return remove(path);
}

HARNESS_SHARED uint64_t harness_fresh_seed(void) {
    const char *given = getenv("AURORA_TEST_SEED");
    if (given != NULL && given[0] != '\0')
        return strtoull(given, NULL, 0);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t state = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    return harness_random_next(&state) >> 32;
}

HARNESS_SHARED bool harness_is_wanted(const char *name, char **filters, int filter_count) {
    for (int at = 0; at < filter_count; at++) {
        if (strstr(name, filters[at]) != NULL)
            return true;
    }
    return filter_count == 0;
}

__attribute__((weak)) int main(int argument_count, char **arguments) {
    bool list = false;
    bool keep = false;
    int filter_count = 0;
    harness.seed = harness_fresh_seed();
    for (int at = 1; at < argument_count; at++) {
        if (strcmp(arguments[at], "--list") == 0)
            list = true;
        else if (strcmp(arguments[at], "--keep") == 0)
            keep = true;
        else if (strcmp(arguments[at], "--seed") == 0 && at + 1 < argument_count)
            harness.seed = strtoull(arguments[++at], NULL, 0);
        else
            arguments[filter_count++] = arguments[at];
    }
    printf("seed %" PRIu64 "\n", harness.seed);
    int passed_count = 0;
    for (harness_test *test = harness.first; test != NULL; test = test->next) {
        if (!harness_is_wanted(test->name, arguments, filter_count))
            continue;
        printf("%s\n", test->name);
        fflush(stdout);
        if (list)
            continue;
        harness.running = test->name;
        /* Each test starts from the seed, so that one alone replays what it did among others. */
        harness.random = harness.seed;
        test->run();
        passed_count++;
    }
    if (harness.temp_dir[0] != '\0' && !keep)
        nftw(harness.temp_dir, harness_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    printf("%d passed\n", passed_count);
    /* A file or a filter that matches nothing is a mistake, not a success. */
    return list || passed_count > 0 ? 0 : 1;
}

#endif
