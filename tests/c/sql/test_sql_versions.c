/* Versions: two views have the same one if and only if they see the same commits. */
#include "../harness.h"
#include "sql/versions.h"

enum { COMMITS = 1000 };

static const aur_era first_era = {1, 0};

static auri_versions versions;

static void add(aur_era era, aur_lsn commit) {
    auri_versions_add(&versions, (auri_version){era, commit});
}

/* A commit is named by the head before it, so a view at that head does not see it. */
TEST(views_of_one_era_are_told_apart_by_the_commits_between_them) {
    static aur_lsn commits[COMMITS];
    auri_versions_init(&versions);
    aur_lsn head = 10;
    uint32_t count = 0;
    for (; count < COMMITS; count++) {
        head += 1 + random_below(5);
        commits[count] = head;
        add(first_era, head);
        head += random_below(3);
        for (int look = 0; look < 4; look++) {
            const uint32_t back = (uint32_t)random_below(count < 200 ? count + 1 : 200);
            const aur_lsn read_point = commits[count - back] + random_below(2);
            const auri_version got = auri_versions_at(&versions, first_era, read_point);
            const uint32_t seen = read_point > commits[count - back] ? back : back + 1;
            aur_lsn expected = seen > count ? 0 : commits[count - seen];
            if (seen >= AURI_VERSIONS_KEPT && count + 1 > AURI_VERSIONS_KEPT)
                expected = AURI_VERSION_UNKNOWN | read_point;
            CHECK_EQ_U64(got.commit, expected);
            CHECK(aur_era_is(got.era, first_era));
        }
        CHECK_EQ_U64(auri_versions_newest(&versions, first_era).commit, commits[count]);
    }
    auri_versions_destroy(&versions);
}

TEST(what_is_too_old_to_be_known_is_equal_only_to_itself) {
    auri_versions_init(&versions);
    for (aur_lsn commit = 1; commit <= 2 * AURI_VERSIONS_KEPT; commit++)
        add(first_era, commit * 10);
    const auri_version old = auri_versions_at(&versions, first_era, 105);
    CHECK(auri_version_is(old, auri_versions_at(&versions, first_era, 105)));
    CHECK(!auri_version_is(old, auri_versions_at(&versions, first_era, 106)));
    CHECK(!auri_version_is(old, auri_versions_newest(&versions, first_era)));
    auri_versions_destroy(&versions);
}

TEST(an_era_begins_with_no_commit_known) {
    const aur_era second_era = {1, 1};
    auri_versions_init(&versions);
    CHECK_EQ_U64(auri_versions_newest(&versions, first_era).commit, 0);
    add(first_era, 10);
    const auri_version of_first = auri_versions_newest(&versions, first_era);
    const auri_version of_second = auri_versions_newest(&versions, second_era);
    CHECK_EQ_U64(of_first.commit, 10);
    CHECK_EQ_U64(of_second.commit, 0);
    CHECK(!auri_version_is(of_first, of_second));
    add(second_era, 10);
    CHECK(!auri_version_is(of_first, auri_versions_newest(&versions, second_era)));
    auri_versions_destroy(&versions);
}
