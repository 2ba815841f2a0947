/* Room for new versions: the clock over each partition's ring. */
#include "buffer/buffer_private.h"

/* A first look at every partition takes few steps under its lock; only if all of them fail does a
 * second one go all the way round, twice, because the first round may only take second chances
 * away. */
enum { GLANCE_STEPS = 8, FULL_ROUNDS = 2 };

/* Moves the hand up to `steps` times. Returns an unlinked version, or NULL. Lock held. */
static aur_version *find_victim(auri_partition *partition, aur_lsn hardened, size_t steps,
                                bool *blocked_out) {
    for (; steps > 0 && partition->hand != NULL; steps--) {
        aur_version *version = partition->hand;
        if (auri_version_is_idle(version) && version->used) {
            version->used = false;
        } else if (auri_version_close(version, 0)) {
            /* Closed before it is looked at: a hint may lead the writer to it at any time. */
            if (aur_page_lsn(version->page) <= hardened) {
                auri_partition_unlink(partition, version);
                partition->evictions++;
                return version;
            }
            auri_version_open(version);
            *blocked_out = true;
        }
        partition->hand = version->ring_next;
    }
    return NULL;
}

aur_version *auri_buffer_evict(aur_buffer *buffer, bool *blocked_out) {
    const aur_lsn hardened = buffer->source.hardened(buffer->source.context);
    const uint32_t cursor =
        atomic_fetch_add_explicit(&buffer->evict_cursor, 1, memory_order_relaxed);
    for (uint32_t visit = 0; visit < 2 * AURI_PARTITIONS; visit++) {
        auri_partition *partition = &buffer->partitions[(cursor + visit) % AURI_PARTITIONS];
        (void)pthread_mutex_lock(&partition->lock);
        const size_t steps =
            visit < AURI_PARTITIONS ? GLANCE_STEPS : FULL_ROUNDS * partition->versions;
        aur_version *victim = find_victim(partition, hardened, steps, blocked_out);
        (void)pthread_mutex_unlock(&partition->lock);
        if (victim != NULL) {
            return victim;
        }
    }
    return NULL;
}

/* Evicts one version more than needed when the pool is above its budget, so that it comes down. */
static void come_down(aur_buffer *buffer) {
    bool blocked = false;
    if (auri_memory_is_over(&buffer->memory)) {
        aur_version *victim = auri_buffer_evict(buffer, &blocked);
        if (victim != NULL) {
            auri_memory_give(&buffer->memory, victim);
        }
    }
}

/* Evicts, hardening as long as that can help (B2). AUR_OK with NULL: overshoot. */
static aur_status evict_for_writer(aur_buffer *buffer, aur_version **victim_out, aur_error *error) {
    const aur_page_source *source = &buffer->source;
    for (;;) {
        bool blocked = false;
        *victim_out = auri_buffer_evict(buffer, &blocked);
        if (*victim_out != NULL || !blocked) {
            return AUR_OK;
        }
        const aur_lsn before = source->hardened(source->context);
        const aur_status status = source->harden(source->context, error);
        if (status != AUR_OK || source->hardened(source->context) == before) {
            return status;
        }
    }
}

aur_status auri_buffer_take(aur_buffer *buffer, bool is_writer, aur_version **version_out,
                            aur_error *error) {
    aur_version *version = auri_memory_take(&buffer->memory, false);
    if (version == NULL) {
        come_down(buffer);
        bool blocked = false;
        aur_status status = AUR_OK;
        if (is_writer) {
            status = evict_for_writer(buffer, &version, error);
        } else {
            version = auri_buffer_evict(buffer, &blocked);
        }
        if (status != AUR_OK) {
            return status;
        }
    }
    if (version == NULL) {
        version = auri_memory_take(&buffer->memory, true);
    }
    if (version == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a page of %u bytes",
                        buffer->page_bytes);
    }
    atomic_store_explicit(&version->pins, AURI_DETACHED | 1, memory_order_relaxed);
    version->used = false;
    version->older = NULL;
    version->bucket_next = NULL;
    *version_out = version;
    return AUR_OK;
}
