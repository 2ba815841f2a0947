/* The quorum rules, over every subset of up to eight copies. */
#include "harness.h"
#include "quorum/quorum.h"

TEST(write_and_read_rules_hold_for_exactly_the_large_enough_subsets) {
    for (uint32_t copies = 1; copies <= 8; copies++) {
        const aur_quorum_rule write = aur_quorum_write_rule(copies);
        const aur_quorum_rule read = aur_quorum_read_rule(copies);
        const uint32_t need = copies / 2 + 1;
        for (uint64_t members = 0; members < UINT64_C(1) << copies; members++) {
            const uint32_t in = (uint32_t)__builtin_popcountll(members);
            CHECK(aur_quorum_met(&write, members) == (in >= need));
            CHECK(aur_quorum_met(&read, members) == (in >= copies + 1 - need));
        }
    }
}

TEST(six_copies_write_at_four_and_read_at_three) {
    CHECK_EQ_U64(aur_quorum_write_rule(6).term[0].need, 4);
    CHECK_EQ_U64(aur_quorum_read_rule(6).term[0].need, 3);
    CHECK_EQ_U64(aur_quorum_write_rule(1).term[0].need, 1);
}

/* Why a recovery sees every completed write, and why two writers cannot both complete one. */
TEST(every_write_set_meets_every_read_set_and_every_write_set) {
    for (uint32_t copies = 1; copies <= 7; copies++) {
        const aur_quorum_rule write = aur_quorum_write_rule(copies);
        const aur_quorum_rule read = aur_quorum_read_rule(copies);
        const uint64_t all = UINT64_C(1) << copies;
        for (uint64_t left = 0; left < all; left++) {
            if (!aur_quorum_met(&write, left)) {
                continue;
            }
            for (uint64_t right = 0; right < all; right++) {
                if (aur_quorum_met(&read, right) || aur_quorum_met(&write, right)) {
                    CHECK((left & right) != 0);
                }
            }
        }
    }
}

TEST(sixty_four_copies_fit_the_mask) {
    const aur_quorum_rule write = aur_quorum_write_rule(AUR_COPIES_MAX);
    CHECK(aur_quorum_met(&write, UINT64_MAX));
    CHECK(aur_quorum_met(&write, UINT64_MAX >> 31));
    CHECK(!aur_quorum_met(&write, UINT64_MAX >> 32));
}

/* Copies of an old and of a new membership: both must agree. */
TEST(every_term_must_hold) {
    const aur_quorum_rule rule = {
        .terms = 2, .term = {{.members = 0x3f, .need = 4}, {.members = 0x5f, .need = 4}}};
    CHECK(aur_quorum_met(&rule, 0x0f));
    CHECK(!aur_quorum_met(&rule, 0x27));
    CHECK(!aur_quorum_met(&rule, 0x47));
    CHECK(aur_quorum_met(&rule, 0x67));
}
