/* History against the definition taken literally: a set of LSNs for each rewind. */
#include "../harness.h"
#include "format/history.h"

enum { LSN_COUNT = 120, REWINDS_MAX = 12, ROUNDS = 300 };

/* visible(read_point) as the recursion says it, one LSN after the other. */
static void define_visible(const aur_rewind *rewinds, size_t count, aur_lsn read_point,
                           bool *visible) {
    const aur_rewind *newest = NULL;
    for (size_t at = 0; at < count; at++) {
        if (rewinds[at].at < read_point)
            newest = &rewinds[at];
    }
    for (aur_lsn lsn = newest == NULL ? 0 : newest->at + 1; lsn <= read_point; lsn++)
        visible[lsn] = true;
    if (newest != NULL)
        define_visible(rewinds, count, newest->to, visible);
}

/* Rewinds that grow in `at`; each goes back to any older moment. */
static size_t random_rewinds(aur_rewind *rewinds) {
    size_t count = 0;
    aur_lsn at = random_below(20);
    while (count < REWINDS_MAX && at < LSN_COUNT && random_below(10) != 0) {
        rewinds[count] = (aur_rewind){
            .at = at,
            .to = random_below(at + 1),
            .epoch = 2 + count / 2,
            .kind = random_below(2) != 0 ? AUR_REWIND_TRUNCATION : AUR_REWIND_BACKTRACK,
        };
        count++;
        at += 1 + random_below(20);
    }
    return count;
}

TEST(visibility_is_what_the_recursion_says) {
    for (int round = 0; round < ROUNDS; round++) {
        aur_rewind rewinds[REWINDS_MAX];
        const size_t count = random_rewinds(rewinds);
        for (aur_lsn read_point = 0; read_point < LSN_COUNT; read_point++) {
            bool visible[LSN_COUNT] = {false};
            define_visible(rewinds, count, read_point, visible);
            for (aur_lsn lsn = 0; lsn < LSN_COUNT; lsn++)
                CHECK_MSG(aur_history_visible(rewinds, count, read_point, lsn) == visible[lsn],
                          "round %d, read at %d, LSN %d", round, (int)read_point, (int)lsn);
        }
    }
}

TEST(without_rewinds_a_read_sees_its_past) {
    CHECK(aur_history_visible(NULL, 0, 7, 0));
    CHECK(aur_history_visible(NULL, 0, 7, 7));
    CHECK(!aur_history_visible(NULL, 0, 7, 8));
    CHECK(aur_history_visible(NULL, 0, AUR_LSN_MAX, AUR_LSN_MAX));
}

/* Back from 100 to 40, then forward again to what was there before. */
TEST(going_forward_again_is_another_rewind) {
    const aur_rewind rewinds[] = {{.at = 100, .to = 40, .kind = AUR_REWIND_BACKTRACK},
                                  {.at = 110, .to = 100, .kind = AUR_REWIND_BACKTRACK}};
    CHECK(!aur_history_visible(rewinds, 2, 105, 50));
    CHECK(aur_history_visible(rewinds, 2, 105, 101));
    CHECK(aur_history_visible(rewinds, 2, 111, 50));
    CHECK(!aur_history_visible(rewinds, 2, 111, 105));
    CHECK(aur_history_visible(rewinds, 2, 100, 50));
}

/* A list that no volume writes must still end: rewinds that go forward, or all at one place. */
TEST(hostile_lists_end) {
    for (int round = 0; round < ROUNDS; round++) {
        aur_rewind rewinds[REWINDS_MAX];
        for (size_t at = 0; at < REWINDS_MAX; at++)
            rewinds[at] = (aur_rewind){.at = random_below(30), .to = random_below(60)};
        for (int reads = 0; reads < 100; reads++)
            (void)aur_history_visible(rewinds, REWINDS_MAX, random_below(60), random_below(60));
    }
}

TEST(truncation_drops_what_older_epochs_wrote_in_its_range) {
    for (int round = 0; round < ROUNDS; round++) {
        aur_rewind rewinds[REWINDS_MAX];
        const size_t count = random_rewinds(rewinds);
        for (aur_lsn lsn = 0; lsn < LSN_COUNT; lsn++) {
            for (aur_epoch written_in = 0; written_in < 8; written_in++) {
                bool dropped = false;
                for (size_t at = 0; at < count; at++)
                    dropped |= rewinds[at].kind == AUR_REWIND_TRUNCATION &&
                               rewinds[at].epoch > written_in && rewinds[at].to < lsn &&
                               lsn <= rewinds[at].at;
                CHECK(aur_history_truncated(rewinds, count, lsn, written_in) == dropped);
            }
        }
    }
}
