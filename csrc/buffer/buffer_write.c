/* What the writer does to the pool: new versions, and the end of old ones. */
#include <stdlib.h>
#include <string.h>

#include "buffer/buffer_private.h"

enum { QUEUE_AT_FIRST = 64, REVISITS_AT_LEAST = 2 };

/* Streamed pages that wait for hardening may fill this part of the pool, not all of it. */
enum { STREAMED_PART = 16 };

void auri_queue_push(auri_queue *queue, const auri_reminder *reminder) {
    if (queue->count == queue->capacity) {
        const size_t wanted = queue->capacity > 0 ? queue->capacity * 2 : QUEUE_AT_FIRST;
        auri_reminder *entries = malloc(wanted * sizeof *entries);
        if (entries == NULL) {
            return;
        }
        for (size_t at = 0; at < queue->count; at++) {
            entries[at] = queue->entries[(queue->head + at) & (queue->capacity - 1)];
        }
        free(queue->entries);
        queue->entries = entries;
        queue->capacity = wanted;
        queue->head = 0;
    }
    queue->entries[(queue->head + queue->count) & (queue->capacity - 1)] = *reminder;
    queue->count++;
}

auri_reminder auri_queue_pop(auri_queue *queue) {
    const auri_reminder reminder = queue->entries[queue->head];
    queue->head = (queue->head + 1) & (queue->capacity - 1);
    queue->count--;
    return reminder;
}

void auri_queue_clear(auri_queue *queue) {
    free(queue->entries);
    *queue = (auri_queue){NULL, 0, 0, 0};
}

/* Notes that the validity of a version has ended, for the next publish. */
static void remind(aur_buffer *buffer, const aur_version *ended) {
    auri_queue_push(&buffer->fresh, &(auri_reminder){.page_id = ended->page_id,
                                                     .first_lsn = ended->first_lsn,
                                                     .limit = ended->next_lsn});
}

/* Makes `fresh` the head of its page for the mini-transaction that started at `start`, ending the
 * validity of what was head. Partition lock held. */
static void link_head(aur_buffer *buffer, auri_partition *partition, aur_version *fresh,
                      aur_page_id page_id, aur_lsn start) {
    aur_version *newest = auri_partition_newest(partition, page_id);
    fresh->page_id = page_id;
    fresh->first_lsn = start + 1;
    fresh->next_lsn = AUR_LSN_MAX;
    fresh->used = true;
    if (newest != NULL && newest->next_lsn == AUR_LSN_MAX) {
        newest->next_lsn = fresh->first_lsn;
        newest->used = false;
        remind(buffer, newest);
    }
    auri_partition_link(partition, fresh, NULL);
}

/* The other way round: `past`, a copy of the head, takes over the head's validity up to `start`,
 * and the head itself may be changed. Partition lock held; the head is closed, so that nobody who
 * pins it without the lock proves it by what it was. */
static void link_past(aur_buffer *buffer, auri_partition *partition, aur_version *past,
                      aur_version *head, aur_lsn start) {
    past->page_id = head->page_id;
    past->first_lsn = head->first_lsn;
    past->next_lsn = start + 1;
    head->first_lsn = past->next_lsn;
    head->used = true;
    remind(buffer, past);
    auri_partition_link(partition, past, head);
}

/* Takes the head for the mini-transaction that started at `start`, without a copy of what it was.
 * False: somebody else pins it (B3), or the pool is over its budget, and the writer has to see to
 * it (B2): a page that it changes cannot be evicted before it has hardened. */
static bool take_head(aur_buffer *buffer, aur_page_id page_id, aur_version *head, aur_lsn start) {
    if (auri_memory_is_over(&buffer->memory)) {
        return false;
    }
    auri_partition *partition = auri_partition_of(buffer, page_id);
    (void)pthread_mutex_lock(&partition->lock);
    const bool is_alone = auri_version_close(head, 1);
    if (is_alone) {
        head->first_lsn = start + 1;
        head->used = true;
        auri_version_open(head);
    }
    (void)pthread_mutex_unlock(&partition->lock);
    return is_alone;
}

/* Copies a page without reading the gap between its slots and its cells, which is zero and often a
 * third of it. Precondition: the page is sound, as all in the pool are. */
static void copy_page(uint8_t *to, const uint8_t *from, uint32_t page_bytes) {
    const uint32_t slots_end = AUR_PAGE_BODY_AT + AUR_SLOT_BYTES * aur_page_slots(from);
    const uint32_t heap = aur_get32(from + AUR_PAGE_HEAP_AT);
    if (aur_page_type_of(from) != AUR_PAGE_LEAF || slots_end > heap || heap > page_bytes) {
        memcpy(to, from, page_bytes); /* others use the whole page */
        return;
    }
    memcpy(to, from, slots_end);
    memset(to + slots_end, 0, heap - slots_end);
    memcpy(to + heap, from + heap, page_bytes - heap);
}

/*
 * The head keeps its slot, and its past moves to the copy, unless a reader pins the head: then the
 * copy becomes head. So the slot of the copy, which is given back as soon as no read point wants
 * it, is the same few for all commits and stays in the processor's cache.
 */
aur_status aur_buffer_modify(aur_buffer *buffer, aur_page_id page_id, aur_lsn start,
                             bool keeps_past, aur_page_ref *ref, aur_error *error) {
    aur_status status;
    if (ref->version == NULL) {
        status = aur_buffer_pin_head(buffer, page_id, ref, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    /* Above `start` there is only this mini-transaction, so such a version is its own, and head. */
    if (ref->version->first_lsn > start) {
        return AUR_OK;
    }
    if (!keeps_past && take_head(buffer, page_id, ref->version, start)) {
        return AUR_OK;
    }
    aur_version *copy;
    status = auri_buffer_take(buffer, true, &copy, error);
    if (status != AUR_OK) {
        return status;
    }
    copy_page(copy->page, ref->page, buffer->page_bytes);
    auri_partition *partition = auri_partition_of(buffer, page_id);
    (void)pthread_mutex_lock(&partition->lock);
    const bool is_alone = auri_version_close(ref->version, 1); /* B3 */
    if (is_alone) {
        link_past(buffer, partition, copy, ref->version, start);
        auri_version_open(ref->version);
    } else {
        link_head(buffer, partition, copy, page_id, start);
    }
    (void)pthread_mutex_unlock(&partition->lock);
    if (is_alone) {
        aur_page_ref past = {copy->page, copy};
        aur_buffer_unpin(buffer, &past);
    } else {
        aur_buffer_unpin(buffer, ref);
        *ref = (aur_page_ref){copy->page, copy};
    }
    return AUR_OK;
}

aur_status aur_buffer_create_page(aur_buffer *buffer, aur_page_id page_id, aur_lsn start,
                                  aur_page_ref *ref_out, aur_error *error) {
    aur_version *fresh;
    aur_status status = auri_buffer_take(buffer, true, &fresh, error);
    if (status != AUR_OK) {
        return status;
    }
    auri_partition *partition = auri_partition_of(buffer, page_id);
    (void)pthread_mutex_lock(&partition->lock);
    /* A read of the old head that is under way comes in first, or it would contradict the new. */
    auri_partition_wait_loaded(partition, page_id);
    aur_version *head = auri_partition_newest(partition, page_id);
    const bool is_own = head != NULL && head->first_lsn > start;
    if (is_own) {
        auri_version_pin(head); /* freed and allocated again in one mini-transaction */
    } else {
        link_head(buffer, partition, fresh, page_id, start);
        head = fresh;
    }
    (void)pthread_mutex_unlock(&partition->lock);
    if (is_own) {
        auri_memory_give(&buffer->memory, fresh);
    }
    *ref_out = (aur_page_ref){head->page, head};
    return AUR_OK;
}

/* Drops the version that a reminder names, if it is still what it was and `may_drop` agrees. */
static void drop_named(aur_buffer *buffer, const auri_reminder *reminder,
                       bool (*may_drop)(const aur_version *version,
                                        const auri_reminder *reminder)) {
    auri_partition *partition = auri_partition_of(buffer, reminder->page_id);
    (void)pthread_mutex_lock(&partition->lock);
    aur_version *version = auri_partition_newest(partition, reminder->page_id);
    while (version != NULL && version->first_lsn > reminder->first_lsn) {
        version = version->older;
    }
    if (version != NULL && version->first_lsn == reminder->first_lsn &&
        may_drop(version, reminder)) {
        auri_partition_drop(partition, version, &buffer->memory);
    }
    (void)pthread_mutex_unlock(&partition->lock);
}

static bool is_superseded(const aur_version *version, const auri_reminder *reminder) {
    (void)reminder;
    return version->next_lsn != AUR_LSN_MAX;
}

/* Written again by the same mini-transaction, after it was freed in it, a page may be newer than
 * what has hardened (B1). */
static bool is_untouched(const aur_version *version, const auri_reminder *reminder) {
    return !version->used && auri_version_is_idle(version) &&
           aur_page_lsn(version->page) == reminder->limit;
}

/* Drops streamed pages that storage has by now. */
static void drop_hardened(aur_buffer *buffer) {
    auri_queue *streamed = &buffer->streamed;
    if (streamed->count == 0) {
        return;
    }
    const aur_lsn hardened = buffer->source.hardened(buffer->source.context);
    while (streamed->count > 0 && streamed->entries[streamed->head].limit <= hardened) {
        const auri_reminder reminder = auri_queue_pop(streamed);
        drop_named(buffer, &reminder, is_untouched);
    }
}

void aur_buffer_unpin_streamed(aur_buffer *buffer, aur_page_ref *ref) {
    aur_version *version = ref->version;
    const auri_reminder reminder = {.page_id = version->page_id,
                                    .first_lsn = version->first_lsn,
                                    .limit = aur_page_lsn(version->page)};
    auri_partition *partition = auri_partition_of(buffer, version->page_id);
    (void)pthread_mutex_lock(&partition->lock);
    version->used = false;
    (void)pthread_mutex_unlock(&partition->lock);
    aur_buffer_unpin(buffer, ref);
    auri_queue_push(&buffer->streamed, &reminder);
    drop_hardened(buffer);
    const uint64_t waiting_bytes = (uint64_t)buffer->streamed.count * buffer->page_bytes;
    if (waiting_bytes > aur_buffer_budget(buffer) / STREAMED_PART) {
        /* Without room from here the stream would evict everything else first. If hardening fails
         * nothing is lost here, and the next record that is logged fails too. */
        if (buffer->source.harden(buffer->source.context, NULL) == AUR_OK) {
            drop_hardened(buffer);
        }
    }
}

/* True iff some point lies in [first, limit). */
static bool is_wanted(const aur_lsn *points, size_t count, aur_lsn first, aur_lsn limit) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (points[middle] < first) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && points[low] < limit;
}

/* Looks at `visits` superseded versions of `queue`: drops them, or retains them for a point. */
static void review(aur_buffer *buffer, auri_queue *queue, size_t visits, const aur_lsn *points,
                   size_t count) {
    for (; visits > 0; visits--) {
        const auri_reminder reminder = auri_queue_pop(queue);
        if (is_wanted(points, count, reminder.first_lsn, reminder.limit)) {
            auri_queue_push(&buffer->retained, &reminder);
        } else {
            drop_named(buffer, &reminder, is_superseded);
        }
    }
}

void aur_buffer_publish(aur_buffer *buffer, const aur_lsn *points, size_t count) {
    /* Revisiting twice what is new keeps what is retained bounded by what points really want, at a
     * cost in proportion to the mini-transaction. */
    const size_t allowance = 2 * buffer->fresh.count + REVISITS_AT_LEAST;
    const size_t revisits = buffer->retained.count < allowance ? buffer->retained.count : allowance;
    review(buffer, &buffer->retained, revisits, points, count);
    review(buffer, &buffer->fresh, buffer->fresh.count, points, count);
    drop_hardened(buffer);
}

bool aur_buffer_has_superseded(const aur_buffer *buffer) {
    return buffer->fresh.count > 0 || buffer->retained.count > 0;
}
