#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void aur_assert_failed(const char *expression, const char *file, int line) {
    (void)fprintf(stderr, "aurora_engine: internal error, please report: %s at %s:%d\n", expression,
                  file, line);
    abort();
}
