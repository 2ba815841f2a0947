/* AUR_ASSERT guards against our own bugs and is always on. Bytes from disk or wire are never
 * asserted (I9). */
#ifndef AUR_BASE_ASSERT_H
#define AUR_BASE_ASSERT_H

_Noreturn void aur_assert_failed(const char *expression, const char *file, int line);

#define AUR_ASSERT(expression)                                                                     \
    do {                                                                                           \
        if (__builtin_expect(!(expression), 0)) {                                                  \
            aur_assert_failed(#expression, __FILE__, __LINE__);                                    \
        }                                                                                          \
    } while (0)

#ifdef NDEBUG
#define AUR_DEBUG_ASSERT(expression) ((void)0)
#else
#define AUR_DEBUG_ASSERT(expression) AUR_ASSERT(expression)
#endif

#endif
