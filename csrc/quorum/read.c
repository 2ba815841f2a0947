/*
 * Page reads. The counts of acknowledgements tell which copies have everything up to a read point,
 * so one of them is asked, not a quorum (SIGMOD 2018, 3.1). Normally always the same one of a
 * group, so that the other five do not compete with it for the operating system's cache; a second
 * one when reads pile up.
 */
#include "quorum/quorum_private.h"

enum { READS_PILED_UP = 4 };

/* Lower is better: sound before damaged before failed, then short queues, then a fixed order that
 * differs by group. */
static uint64_t cost(const auri_copy *copy) {
    const uint32_t copies = copy->group->quorum->options.copies;
    const uint64_t order = (copy->index + copies - copy->group->number % copies) % copies;
    const uint64_t piled = copy->reading / READS_PILED_UP;
    const uint64_t errors = copy->read_errors > 255 ? 255 : copy->read_errors;
    return (copy->failed ? UINT64_C(1) << 60 : 0) | errors << 48 | piled << 8 | order;
}

static auri_copy *best_copy(auri_group *group, aur_lsn read_point, uint64_t tried) {
    const aur_lsn needed = read_point < group->pgcl ? read_point : group->pgcl;
    auri_copy *best = NULL;
    for (uint32_t i = 0; i < group->quorum->options.copies; i++) {
        auri_copy *copy = &group->copies[i];
        if ((tried >> i & 1) != 0 || copy->segment == NULL || copy->leaving || copy->blind ||
            copy->scl < needed) {
            continue;
        }
        if (best == NULL || cost(copy) < cost(best)) {
            best = copy;
        }
    }
    return best;
}

/* Of the errors of several copies the one that tells most: a moment not retained, then damage, then
 * the rest. */
static int weight(aur_status status) {
    return status == AUR_ERR_SNAPSHOT  ? 3
           : status == AUR_ERR_CORRUPT ? 2
           : status == AUR_OK          ? 0
                                       : 1;
}

static void remember(auri_copy *copy, const aur_error *found) {
    if (found->status == AUR_ERR_SNAPSHOT || found->status == AUR_ERR_MEMORY) {
        return;
    }
    copy->read_errors++;
    auri_copy_changed(copy);
    copy->damage = *found;
    copy->damage.group = (int32_t)copy->group->number;
    copy->damage.copy = (int32_t)copy->index;
}

/* Asks one copy. Lock held, released during the read. */
static aur_status ask(auri_copy *copy, aur_page_id page_id, aur_lsn read_point, uint8_t *page,
                      aur_error *error) {
    aur_quorum *quorum = copy->group->quorum;
    copy->users++;
    copy->reading++;
    auri_quorum_unlock(quorum);
    const aur_status status =
        aur_segment_read_page(copy->segment, page_id, read_point, page, error);
    auri_quorum_lock(quorum);
    copy->reading--;
    auri_copy_unpin(copy);
    return status;
}

static aur_status read_from_group(auri_group *group, aur_page_id page_id, aur_lsn read_point,
                                  uint8_t *page, aur_error *error) {
    aur_quorum *quorum = group->quorum;
    aur_error worst;
    uint64_t tried = 0;
    aur_error_clear(&worst);
    for (;;) {
        aur_error found;
        auri_copy *copy = best_copy(group, read_point, tried);
        if (copy == NULL) {
            break;
        }
        tried |= UINT64_C(1) << copy->index;
        aur_error_clear(&found);
        const aur_status status = ask(copy, page_id, read_point, page, &found);
        if (status == AUR_OK || status == AUR_NOT_FOUND) {
            return status;
        }
        remember(copy, &found);
        if (weight(status) > weight(worst.status)) {
            worst = found;
        }
        if (status == AUR_ERR_IO) {
            auri_quorum_unlock(quorum);
            auri_copy_check(copy);
            auri_quorum_lock(quorum);
        }
    }
    if (worst.status == AUR_OK) {
        return aur_fail(
            error, AUR_ERR_QUORUM,
            "no copy of protection group %u can serve page %llu: rebuild its failed copies",
            group->number, (unsigned long long)page_id);
    }
    if (error != NULL) {
        *error = worst;
    }
    return worst.status;
}

void aur_quorum_will_read(aur_quorum *quorum, aur_page_id page_id, aur_lsn read_point) {
    const uint64_t number = page_id / quorum->options.group_pages;
    auri_quorum_lock(quorum);
    auri_copy *copy =
        number < quorum->group_count ? best_copy(quorum->groups[number], read_point, 0) : NULL;
    if (copy != NULL) {
        copy->users++;
        auri_quorum_unlock(quorum);
        aur_segment_will_read(copy->segment, page_id, read_point);
        auri_quorum_lock(quorum);
        auri_copy_unpin(copy);
    }
    auri_quorum_unlock(quorum);
}

aur_status aur_quorum_read_page(aur_quorum *quorum, aur_page_id page_id, aur_lsn read_point,
                                uint8_t *page, aur_error *error) {
    const uint64_t number = page_id / quorum->options.group_pages;
    aur_status status = AUR_NOT_FOUND;
    auri_quorum_lock(quorum);
    if (number < quorum->group_count) {
        status = read_from_group(quorum->groups[number], page_id, read_point, page, error);
    }
    auri_quorum_unlock(quorum);
    return status;
}
