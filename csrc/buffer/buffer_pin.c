/* Pins, and reading a page from the source on a miss (B4). */
#include "base/assert.h"
#include "base/prefetch.h"
#include "buffer/buffer_private.h"

enum { HEAD_BYTES = 3 * AUR_CACHE_LINE_BYTES };

static void set_ref(aur_page_ref *ref, aur_version *version) {
    ref->page = version->page;
    ref->version = version;
}

/* Asks for the page's header and first slots, which every user looks at first, so that they arrive
 * while the pin is taken. */
static void prefetch_head(const uint8_t *page) { aur_prefetch(page, HEAD_BYTES); }

void aur_buffer_prefetch_way(const aur_buffer *buffer, aur_page_id page_id) {
    __builtin_prefetch(auri_hint_of(buffer, page_id));
}

void aur_buffer_prefetch(const aur_buffer *buffer, aur_page_id page_id) {
    const auri_hint *hint = auri_hint_of(buffer, page_id);
    __builtin_prefetch(atomic_load_explicit(&hint->version, memory_order_relaxed), 1);
    prefetch_head(atomic_load_explicit(&hint->page, memory_order_relaxed));
}

/* Release: what this thread did with the page comes before its reuse by whoever sees no pin. */
static void end_pin(aur_buffer *buffer, aur_version *version) {
    const uint32_t pins = atomic_fetch_sub_explicit(&version->pins, 1, memory_order_acq_rel);
    AUR_DEBUG_ASSERT((pins & ~AURI_DETACHED) > 0);
    if (pins == (AURI_DETACHED | 1)) {
        auri_memory_give(&buffer->memory, version);
    }
}

/* Pins what the page's hint leads to, if that is what a read at `read_point` sees. */
static bool pin_by_hint(aur_buffer *buffer, auri_partition *partition, auri_hint *hint,
                        aur_page_id page_id, aur_lsn read_point, aur_page_ref *ref_out) {
    aur_version *version = atomic_load_explicit(&hint->version, memory_order_acquire);
    if (version == NULL) {
        return false;
    }
    prefetch_head(atomic_load_explicit(&hint->page, memory_order_relaxed));
    if (!auri_version_try_pin(version)) {
        return false;
    }
    /* Who may read at a point has seen the end of every mini-transaction up to it, and with it the
     * next_lsn that it set. */
    const aur_lsn next_lsn = atomic_load_explicit(&version->next_lsn, memory_order_relaxed);
    if (version->page_id != page_id || version->first_lsn > read_point ||
        (read_point >= next_lsn && next_lsn != AUR_LSN_MAX)) {
        end_pin(buffer, version);
        return false;
    }
    if (!atomic_load_explicit(&version->used, memory_order_relaxed)) {
        atomic_store_explicit(&version->used, true, memory_order_relaxed);
    }
    const uint64_t hits = atomic_load_explicit(&partition->hinted, memory_order_relaxed);
    atomic_store_explicit(&partition->hinted, hits + 1, memory_order_relaxed);
    set_ref(ref_out, version);
    return true;
}

static void set_hint(auri_hint *hint, aur_version *version) {
    atomic_store_explicit(&hint->page, version->page, memory_order_relaxed);
    atomic_store_explicit(&hint->version, version, memory_order_release);
}

/* What a read at `read_point` has to ask the source for: the head, unless that is known and too new
 * for it, or belongs to another history. The head is asked for by the hardened LSN, a definite
 * moment, so that a rewind that is recorded meanwhile changes nothing about the answer. Lock held:
 * the page cannot come in, be changed and be evicted again in between. */
static void aim(aur_buffer *buffer, const auri_partition *partition, aur_lsn read_point,
                auri_load *load) {
    const aur_version *newest = auri_partition_newest(partition, load->page_id);
    const bool has_head = newest != NULL && newest->next_lsn == AUR_LSN_MAX;
    load->is_head = !has_head && read_point > auri_rewinds_newest(&buffer->rewinds);
    load->read_point = load->is_head ? buffer->source.hardened(buffer->source.context) : read_point;
}

/* Pins from the pool; else waits for a read of this page that is under way and looks again; else
 * enters `load` as the caller's own read. AUR_OK: pinned. AUR_NOT_FOUND: the caller loads. */
static aur_status look_up(aur_buffer *buffer, auri_partition *partition, aur_lsn read_point,
                          bool cached_only, auri_load *load, aur_page_ref *ref_out) {
    aur_status status = AUR_OK;
    (void)pthread_mutex_lock(&partition->lock);
    aur_version *version = auri_partition_find(partition, load->page_id, read_point);
    while (version == NULL && !cached_only &&
           auri_partition_wait_loaded(partition, load->page_id)) {
        version = auri_partition_find(partition, load->page_id, read_point);
    }
    if (version != NULL) {
        prefetch_head(version->page);
        auri_version_pin(version);
        version->used = true;
        partition->hits++;
        set_ref(ref_out, version);
    } else if (cached_only) {
        status = AUR_WOULD_BLOCK;
    } else {
        aim(buffer, partition, read_point, load);
        load->generation = partition->generation;
        load->next = partition->loads;
        partition->loads = load;
        partition->misses++;
        status = AUR_NOT_FOUND;
    }
    (void)pthread_mutex_unlock(&partition->lock);
    return status;
}

/*
 * Enters what was read into the chain of its page. Returns the version that now holds it: `fresh`,
 * or one that was there already and is now known to be valid longer. NULL when the source
 * contradicts what the pool knows. Lock held.
 */
static aur_version *enter_version(aur_buffer *buffer, auri_partition *partition,
                                  const auri_load *load, aur_version *fresh) {
    aur_lsn lsn;
    bool is_newest;
    auri_rewinds_around(&buffer->rewinds, load->read_point, &lsn, &is_newest);
    if (lsn < aur_page_lsn(fresh->page)) {
        lsn = aur_page_lsn(fresh->page);
    }
    const aur_lsn next_lsn = load->is_head && is_newest ? AUR_LSN_MAX : load->read_point + 1;
    aur_version *newer = NULL;
    aur_version *version = auri_partition_newest(partition, fresh->page_id);
    while (version != NULL && version->first_lsn > lsn) {
        newer = version;
        version = version->older;
    }
    if (newer != NULL && newer->first_lsn < next_lsn) {
        return NULL; /* the page changed at a point up to which the source saw no change */
    }
    if (version != NULL && lsn < version->next_lsn) {
        if (version->next_lsn < next_lsn) {
            version->next_lsn = next_lsn;
        }
        return version;
    }
    fresh->first_lsn = lsn;
    fresh->next_lsn = next_lsn;
    auri_partition_link(partition, fresh, newer);
    return fresh;
}

/* Ends a read that succeeded: enters the page and pins it if a read at `read_point` sees it.
 * `fresh` is consumed. AUR_OK without a pin: look again. */
static aur_status finish_load(aur_buffer *buffer, auri_partition *partition, const auri_load *load,
                              aur_version *fresh, aur_lsn read_point, aur_page_ref *ref_out) {
    aur_status status = AUR_OK;
    aur_version *version = NULL;
    (void)pthread_mutex_lock(&partition->lock);
    if (load->generation == partition->generation) {
        version = enter_version(buffer, partition, load, fresh);
        status = version != NULL ? AUR_OK : AUR_ERR_CORRUPT;
    }
    if (version != NULL && version->first_lsn <= read_point) {
        if (version != fresh) {
            auri_version_pin(version);
        }
        set_ref(ref_out, version);
    } else if (version == fresh) {
        /* The head, newer than what this reader wants: left unpinned for others. */
        (void)atomic_fetch_sub_explicit(&fresh->pins, 1, memory_order_release);
    }
    (void)pthread_mutex_unlock(&partition->lock);
    if (version != fresh) {
        auri_memory_give(&buffer->memory, fresh);
    }
    return status;
}

/* Takes the read off the list; those who wait for it look again. */
static void leave_loads(auri_partition *partition, const auri_load *load) {
    (void)pthread_mutex_lock(&partition->lock);
    auri_load **place = &partition->loads;
    while (*place != load) {
        place = &(*place)->next;
    }
    *place = load->next;
    (void)pthread_cond_broadcast(&partition->loaded);
    (void)pthread_mutex_unlock(&partition->lock);
}

/* Reads the page that `load` names. On AUR_OK without a pin the caller looks again. */
static aur_status load_page(aur_buffer *buffer, auri_partition *partition, const auri_load *load,
                            aur_lsn read_point, aur_page_ref *ref_out, aur_error *error) {
    aur_version *fresh;
    /* Not as the writer, even if it is: harden may not run while others wait for this read. */
    aur_status status = auri_buffer_take(buffer, false, &fresh, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)atomic_fetch_add_explicit(&buffer->loads, 1, memory_order_relaxed);
    fresh->page_id = load->page_id;
    status = buffer->source.read_page(buffer->source.context, load->page_id, load->read_point,
                                      fresh->page, error);
    if (status == AUR_OK && (aur_page_number(fresh->page) != load->page_id ||
                             aur_page_lsn(fresh->page) > load->read_point)) {
        status = AUR_ERR_CORRUPT;
    }
    if (status != AUR_OK) {
        auri_memory_give(&buffer->memory, fresh);
    } else {
        status = finish_load(buffer, partition, load, fresh, read_point, ref_out);
    }
    return status;
}

aur_status aur_buffer_pin(aur_buffer *buffer, aur_page_id page_id, aur_lsn read_point,
                          bool cached_only, aur_page_ref *ref_out, aur_error *error) {
    auri_partition *partition = auri_partition_of(buffer, page_id);
    auri_hint *hint = auri_hint_of(buffer, page_id);
    if (pin_by_hint(buffer, partition, hint, page_id, read_point, ref_out)) {
        return AUR_OK;
    }
    auri_load load = {.page_id = page_id};
    for (;;) {
        aur_status status = look_up(buffer, partition, read_point, cached_only, &load, ref_out);
        if (status == AUR_OK) {
            set_hint(hint, ref_out->version);
        }
        if (status != AUR_NOT_FOUND) {
            return status;
        }
        *ref_out = (aur_page_ref){NULL, NULL};
        status = load_page(buffer, partition, &load, read_point, ref_out, error);
        leave_loads(partition, &load);
        if (status == AUR_ERR_CORRUPT) {
            return aur_fail(error, status, "page %llu as read from storage is not what it must be",
                            (unsigned long long)page_id);
        }
        if (status != AUR_OK || ref_out->version != NULL) {
            return status;
        }
    }
}

aur_status aur_buffer_pin_head(aur_buffer *buffer, aur_page_id page_id, aur_page_ref *ref_out,
                               aur_error *error) {
    return aur_buffer_pin(buffer, page_id, AUR_LSN_MAX, false, ref_out, error);
}

void aur_buffer_will_pin(aur_buffer *buffer, aur_page_id page_id) {
    auri_partition *partition = auri_partition_of(buffer, page_id);
    const aur_page_source *source = &buffer->source;
    if (source->will_read == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&partition->lock);
    const aur_version *newest = auri_partition_newest(partition, page_id);
    const bool has_head = newest != NULL && newest->next_lsn == AUR_LSN_MAX;
    (void)pthread_mutex_unlock(&partition->lock);
    if (!has_head) {
        source->will_read(source->context, page_id, source->hardened(source->context));
    }
}

uint64_t aur_buffer_loads(const aur_buffer *buffer) {
    return atomic_load_explicit(&buffer->loads, memory_order_relaxed);
}

void aur_buffer_unpin(aur_buffer *buffer, aur_page_ref *ref) {
    if (ref->version != NULL) {
        end_pin(buffer, ref->version);
        *ref = (aur_page_ref){NULL, NULL};
    }
}

void aur_buffer_unpin_once(aur_buffer *buffer, aur_page_ref *ref) {
    aur_version *version = ref->version;
    if (version == NULL) {
        return;
    }
    const aur_lsn hardened = buffer->source.hardened(buffer->source.context);
    auri_partition *partition = auri_partition_of(buffer, version->page_id);
    (void)pthread_mutex_lock(&partition->lock);
    /* Closed before it goes: the writer, whom a hint may lead to it at any time, must not be left
     * with a head that others take for missing and read again (B4). */
    if (auri_version_close(version, 1)) {
        if (!version->used && aur_page_lsn(version->page) <= hardened) {
            auri_partition_unlink(partition, version);
        } else {
            auri_version_open(version);
        }
    }
    (void)pthread_mutex_unlock(&partition->lock);
    aur_buffer_unpin(buffer, ref);
}
