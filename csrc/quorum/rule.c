/* Quorum sets: which sets of copies complete a write, and which suffice to learn everything that
 * was completed. */
#include "quorum/quorum.h"

#include "base/assert.h"

static uint64_t all_copies(uint32_t copies) {
    return copies == AUR_COPIES_MAX ? UINT64_MAX : (UINT64_C(1) << copies) - 1;
}

static aur_quorum_rule single_term(uint32_t copies, uint32_t need) {
    aur_quorum_rule rule = {.terms = 1};
    rule.term[0].members = all_copies(copies);
    rule.term[0].need = need;
    return rule;
}

aur_quorum_rule aur_quorum_write_rule(uint32_t copies) {
    AUR_ASSERT(copies >= 1 && copies <= AUR_COPIES_MAX);
    return single_term(copies, copies / 2 + 1);
}

aur_quorum_rule aur_quorum_read_rule(uint32_t copies) {
    AUR_ASSERT(copies >= 1 && copies <= AUR_COPIES_MAX);
    return single_term(copies, copies + 1 - (copies / 2 + 1));
}

bool aur_quorum_met(const aur_quorum_rule *rule, uint64_t members) {
    for (uint32_t i = 0; i < rule->terms; i++) {
        const uint64_t in = members & rule->term[i].members;
        if ((uint32_t)__builtin_popcountll(in) < rule->term[i].need) {
            return false;
        }
    }
    return true;
}
