/*
 * Runs one scenario by name, for callgrind; with --describe tells what there is, as JSON.
 *
 * The counted run is the second: what happens only once in a process is not part of a hot path.
 */
#include <stdio.h>
#include <string.h>

#include "scenario.h"

static void describe(void) {
    printf("{\"build\": \"%s\", \"operations\": {", scenario_build());
    for (size_t number = 0; scenario_name(number) != NULL; number++) {
        printf("%s\"%s\": %u", number == 0 ? "" : ", ", scenario_name(number),
               scenario_operations(number));
    }
    printf("}}\n");
}

int main(int argument_count, char **arguments) {
    if (argument_count != 2) {
        (void)fprintf(stderr, "usage: %s --describe | SCENARIO\n", arguments[0]);
        return 2;
    }
    if (strcmp(arguments[1], "--describe") == 0) {
        describe();
        return 0;
    }
    for (size_t number = 0; scenario_name(number) != NULL; number++) {
        if (strcmp(arguments[1], scenario_name(number)) == 0) {
            scenario_rehearse(number);
            scenario_prepare(number);
            scenario_run(number);
            scenario_finish(number);
            return 0;
        }
    }
    (void)fprintf(stderr, "no scenario %s\n", arguments[1]);
    return 2;
}
