/*
 * The files of the hot log. An extent is zeroed and given its header before it takes a frame, so
 * that the append path writes frames and nothing else. The log grows by extents of 1 MiB to
 * options.extent_bytes, and once it is that long it goes round where it can.
 *
 * Zeroing costs as much of the disk as the frames will. When large frames come faster than extents
 * are recycled, one is made without it: each frame then changes metadata of the file, which a large
 * one does not feel. A small frame goes on in a zeroed extent as soon as there is one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "segment/segment_private.h"

enum {
    LARGE_SHARE = 2,  /* a log that takes more than this part of one full extent is large, */
    REST_SHARE = 8,   /* if it also takes more than this part of what the layers take, */
    REST_EXTENTS = 3, /* or more than so many full extents */
    SPARE_SHARE = 4,  /* this part of it should be ready for frames */
    FRAMES_PER_EXTENT = 4,
    ZERO_CHUNK_BYTES = 256 << 10,
};

static const char MAGIC[8] = {'A', 'U', 'R', 'E', 'X', 'T', 'N', 'T'};

void auri_segment_extent_name(uint64_t sequence, char name[AURI_NAME_BYTES]) {
    (void)snprintf(name, AURI_NAME_BYTES, "log-%016llx", (unsigned long long)sequence);
}

bool auri_segment_parse_name(const char *name, const char *prefix, uint64_t *number_out) {
    const size_t prefix_bytes = strlen(prefix);
    if (strncmp(name, prefix, prefix_bytes) != 0 || strlen(name) != prefix_bytes + 16) {
        return false;
    }
    uint64_t number = 0;
    for (const char *digit = name + prefix_bytes; *digit != '\0'; digit++) {
        uint64_t value;
        if (*digit >= '0' && *digit <= '9') {
            value = (uint64_t)(*digit - '0');
        } else if (*digit >= 'a' && *digit <= 'f') {
            value = (uint64_t)(*digit - 'a' + 10);
        } else {
            return false;
        }
        number = number << 4 | value;
    }
    *number_out = number;
    return true;
}

static aur_status write_header(const auri_extent *extent, const aur_segment_identity *identity,
                               aur_error *error) {
    uint8_t *block = aligned_alloc(AUR_FRAME_ALIGN, AURI_EXTENT_HEADER_BYTES);
    if (block == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for an extent header");
    }
    memset(block, 0, AURI_EXTENT_HEADER_BYTES);
    memcpy(block + AUR_EXTENT_MAGIC_AT, MAGIC, sizeof MAGIC);
    aur_put32(block + AUR_EXTENT_VERSION_AT, AUR_SEGMENT_FORMAT);
    aur_put32(block + AUR_EXTENT_GROUP_AT, identity->group);
    memcpy(block + AUR_EXTENT_VOLUME_AT, identity->volume_id, AUR_VOLUME_ID_BYTES);
    aur_put32(block + AUR_EXTENT_COPY_AT, identity->copy);
    aur_put64(block + AUR_EXTENT_SEQUENCE_AT, extent->sequence);
    aur_put64(block + AUR_EXTENT_SIZE_AT, extent->size_bytes);
    aur_put64(block + AUR_EXTENT_STALE_AT, extent->stale_lsn);
    aur_put64(block + AUR_EXTENT_SUM_AT, aur_checksum(block, AUR_EXTENT_SUM_AT, 0));
    const aur_status status =
        aur_file_write(extent->file, 0, block, AURI_EXTENT_HEADER_BYTES, error);
    free(block);
    return status;
}

static auri_extent *extent_allocate(uint64_t sequence, uint64_t size_bytes) {
    auri_extent *extent = calloc(1, sizeof *extent);
    if (extent != NULL) {
        atomic_init(&extent->references, 1);
        extent->sequence = sequence;
        extent->size_bytes = size_bytes;
        extent->used_bytes = AURI_EXTENT_HEADER_BYTES;
        extent->header_good = true;
    }
    return extent;
}

auri_extent *auri_segment_extent_acquire(auri_extent *extent) {
    atomic_fetch_add_explicit(&extent->references, 1, memory_order_relaxed);
    return extent;
}

void auri_segment_extent_release(auri_extent *extent) {
    if (extent != NULL &&
        atomic_fetch_sub_explicit(&extent->references, 1, memory_order_acq_rel) == 1) {
        aur_file_close(extent->file);
        free(extent);
    }
}

/* Removes what did not become an extent. If that fails too, it is unborn at the next opening. */
static void forget_file(aur_disk *disk, const char *name) {
    const aur_status removed = aur_disk_remove(disk, name, NULL);
    (void)removed;
}

typedef aur_status make_file(aur_disk *disk, const char *name, uint64_t size_bytes,
                             aur_error *error);

static aur_status make_extent(aur_disk *disk, const aur_segment_identity *identity,
                              uint64_t sequence, uint64_t size_bytes, make_file *make,
                              auri_extent **extent_out, aur_error *error) {
    char name[AURI_NAME_BYTES];
    *extent_out = NULL;
    auri_segment_extent_name(sequence, name);
    auri_extent *extent = extent_allocate(sequence, size_bytes);
    if (extent == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a log extent");
    }
    aur_status status = make(disk, name, size_bytes, error);
    if (status == AUR_OK) {
        status =
            aur_disk_open_file(disk, name, AUR_FILE_DURABLE | AUR_FILE_READ, &extent->file, error);
    }
    if (status == AUR_OK) {
        status = write_header(extent, identity, error);
    }
    if (status != AUR_OK) {
        auri_segment_extent_release(extent);
        forget_file(disk, name);
        return status;
    }
    *extent_out = extent;
    return AUR_OK;
}

aur_status auri_segment_extent_create(aur_disk *disk, const aur_segment_identity *identity,
                                      uint64_t sequence, uint64_t size_bytes,
                                      auri_extent **extent_out, aur_error *error) {
    return make_extent(disk, identity, sequence, size_bytes, aur_disk_create, extent_out, error);
}

aur_status auri_segment_extent_hurry(aur_disk *disk, const aur_segment_identity *identity,
                                     uint64_t sequence, uint64_t size_bytes,
                                     auri_extent **extent_out, aur_error *error) {
    const aur_status status =
        make_extent(disk, identity, sequence, size_bytes, aur_disk_reserve, extent_out, error);
    if (status == AUR_OK) {
        (*extent_out)->slow = true;
    }
    return status;
}

static bool is_blank(const uint8_t *head, size_t length) {
    size_t at = 0;
    while (at < length && head[at] == 0) {
        at++;
    }
    return at == length;
}

/* A header that does not verify is damage that frames survive, as they verify by themselves; one
 * that verifies and names another segment means that the file does not belong here. */
aur_status auri_segment_extent_read_header(auri_extent *extent,
                                           const aur_segment_identity *identity, aur_error *error) {
    uint8_t head[AUR_EXTENT_SUM_AT + 8];
    size_t length;
    const aur_status status = aur_file_read(extent->file, 0, head, sizeof head, &length, error);
    if (status != AUR_OK) {
        return status;
    }
    extent->header_good =
        length == sizeof head && memcmp(head, MAGIC, sizeof MAGIC) == 0 &&
        aur_get64(head + AUR_EXTENT_SUM_AT) == aur_checksum(head, AUR_EXTENT_SUM_AT, 0) &&
        aur_get32(head + AUR_EXTENT_VERSION_AT) == AUR_SEGMENT_FORMAT;
    if (!extent->header_good) {
        extent->unborn = is_blank(head, length);
        return AUR_OK;
    }
    if (memcmp(head + AUR_EXTENT_VOLUME_AT, identity->volume_id, AUR_VOLUME_ID_BYTES) != 0 ||
        aur_get32(head + AUR_EXTENT_GROUP_AT) != identity->group ||
        aur_get32(head + AUR_EXTENT_COPY_AT) != identity->copy) {
        return aur_fail(error, AUR_ERR_CORRUPT, "the log extent belongs to another segment");
    }
    /* A recycled extent whose new header was never written still carries its old sequence number.
     */
    extent->header_good = aur_get64(head + AUR_EXTENT_SEQUENCE_AT) == extent->sequence;
    extent->unborn = !extent->header_good;
    extent->stale_lsn = extent->header_good ? aur_get64(head + AUR_EXTENT_STALE_AT) : 0;
    return AUR_OK;
}

aur_status auri_segment_extent_check(const auri_extent *extent,
                                     const aur_segment_identity *identity, aur_error *error) {
    auri_extent again = {.sequence = extent->sequence, .file = extent->file};
    const aur_status status = auri_segment_extent_read_header(&again, identity, error);
    if (status == AUR_OK && !again.header_good) {
        return aur_fail(error, AUR_ERR_CORRUPT, "the header of the log extent fails its checksum");
    }
    return status;
}

aur_status auri_segment_extent_open(aur_disk *disk, uint64_t sequence, uint64_t size_bytes,
                                    auri_extent **extent_out, aur_error *error) {
    char name[AURI_NAME_BYTES];
    *extent_out = NULL;
    auri_segment_extent_name(sequence, name);
    auri_extent *extent = extent_allocate(sequence, size_bytes);
    if (extent == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a log extent");
    }
    const aur_status status = aur_disk_open_file(disk, name, AUR_FILE_READ, &extent->file, error);
    if (status != AUR_OK) {
        auri_segment_extent_release(extent);
        return status;
    }
    *extent_out = extent;
    return AUR_OK;
}

aur_status auri_segment_extent_arm(aur_disk *disk, auri_extent *extent, aur_error *error) {
    char name[AURI_NAME_BYTES];
    aur_file *file = NULL;
    auri_segment_extent_name(extent->sequence, name);
    const aur_status status =
        aur_disk_open_file(disk, name, AUR_FILE_DURABLE | AUR_FILE_READ, &file, error);
    if (status == AUR_OK) {
        aur_file_close(extent->file);
        extent->file = file;
    }
    return status;
}

aur_status auri_segment_log_insert(auri_log *log, auri_extent *extent) {
    if (log->count == log->capacity) {
        const uint32_t capacity = log->capacity == 0 ? 8 : log->capacity * 2;
        auri_extent **grown = realloc(log->extents, capacity * sizeof(auri_extent *));
        if (grown == NULL) {
            return AUR_ERR_MEMORY;
        }
        log->extents = grown;
        log->capacity = capacity;
    }
    uint32_t at = log->count++;
    for (; at > 0 && log->extents[at - 1]->sequence > extent->sequence; at--) {
        log->extents[at] = log->extents[at - 1];
    }
    log->extents[at] = extent;
    log->bytes += extent->size_bytes;
    if (extent->sequence >= log->next_sequence) {
        log->next_sequence = extent->sequence + 1;
    }
    return AUR_OK;
}

void auri_segment_log_take_out(auri_log *log, auri_extent *extent) {
    uint32_t kept = 0;
    for (uint32_t at = 0; at < log->count; at++) {
        if (log->extents[at] != extent) {
            log->extents[kept++] = log->extents[at];
        }
    }
    AUR_ASSERT(kept + 1 == log->count);
    log->count = kept;
    log->bytes -= extent->size_bytes;
}

auri_extent *auri_segment_log_find(const auri_log *log, uint64_t sequence) {
    for (uint32_t at = 0; at < log->count; at++) {
        if (log->extents[at]->sequence == sequence) {
            return auri_segment_extent_acquire(log->extents[at]);
        }
    }
    return NULL;
}

/* The oldest extent that may become active and has room; NULL when there is none. */
static auri_extent *next_extent(const auri_log *log, size_t length, bool may_be_slow) {
    for (uint32_t at = 0; at < log->count; at++) {
        auri_extent *extent = log->extents[at];
        if (extent->sequence > log->floor && (may_be_slow || !extent->slow) &&
            length <= extent->size_bytes - AURI_EXTENT_HEADER_BYTES) {
            return extent;
        }
    }
    return NULL;
}

/* The extent that takes a frame of this length; NULL when none has room. */
static auri_extent *choose_extent(const auri_log *log, size_t length) {
    auri_extent *active = log->active;
    if (active != NULL && length > active->size_bytes - active->used_bytes) {
        active = NULL;
    }
    auri_extent *better =
        active != NULL && active->slow && !log->is_bulk ? next_extent(log, length, false) : NULL;
    if (better != NULL) {
        return better;
    }
    return active != NULL ? active : next_extent(log, length, true);
}

aur_status auri_segment_log_place(auri_log *log, size_t length, auri_extent **extent_out,
                                  uint64_t *offset_out) {
    log->is_bulk = length > log->bulk_bytes;
    auri_extent *chosen = choose_extent(log, length);
    if (chosen == NULL) {
        return AUR_NOT_FOUND;
    }
    if (chosen != log->active) {
        log->active = chosen;
        log->floor = chosen->sequence;
    }
    *extent_out = chosen;
    *offset_out = chosen->used_bytes;
    chosen->used_bytes += length;
    return AUR_OK;
}

static uint64_t first_size(const aur_segment *segment) {
    const uint64_t full = segment->options.extent_bytes;
    return full < AURI_FIRST_EXTENT_BYTES ? full : AURI_FIRST_EXTENT_BYTES;
}

/* Each extent makes the log longer by half, so that a small volume stays small, and little is
 * zeroed before it is needed; on the way it stops at the length from which on it goes round. Holds
 * `lock`.
 */
static uint64_t next_size(const aur_segment *segment) {
    const uint64_t first = first_size(segment);
    const uint64_t full = segment->options.extent_bytes;
    const uint64_t bytes = segment->log.bytes;
    const uint64_t most = bytes < full ? full - bytes : full;
    const uint64_t half = bytes / 2 < most ? bytes / 2 : most;
    return half < first ? first : half / first * first;
}

/* Makes an extent that `length` bytes fit into, and puts it into the list. */
static aur_status grow(aur_segment *segment, size_t length, bool hurries, aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    const uint64_t sequence = segment->log.next_sequence++;
    uint64_t size = next_size(segment);
    pthread_mutex_unlock(&segment->lock);
    /* A few large frames have room, so that not each of them waits for an extent. */
    if (size < FRAMES_PER_EXTENT * length) {
        size = FRAMES_PER_EXTENT * length < segment->options.extent_bytes
                   ? FRAMES_PER_EXTENT * length
                   : segment->options.extent_bytes;
    }
    if (size < length + AURI_EXTENT_HEADER_BYTES) {
        size = length + AURI_EXTENT_HEADER_BYTES;
    }
    auri_extent *extent;
    aur_status status = (hurries ? auri_segment_extent_hurry : auri_segment_extent_create)(
        segment->disk, &segment->identity, sequence, size, &extent, error);
    if (status != AUR_OK) {
        return status;
    }
    pthread_mutex_lock(&segment->lock);
    status = auri_segment_log_insert(&segment->log, extent);
    pthread_mutex_unlock(&segment->lock);
    if (status != AUR_OK) {
        auri_segment_extent_release(extent);
        return aur_fail(error, status, "no memory for the list of log extents");
    }
    return AUR_OK;
}

aur_status auri_segment_log_grow(aur_segment *segment, size_t length, aur_error *error) {
    return grow(segment, length, length > segment->log.bulk_bytes, error);
}

/* What log_maintain and log_trim look at. */
typedef struct log_census {
    auri_extent *oldest; /* the oldest extent that replay no longer needs */
    uint64_t flushed;    /* bytes of all those */
    uint64_t unused;     /* bytes that wait for frames */
    bool wants_spare;    /* those are less than a part of the log */
    bool wants_zeroed;   /* small frames should not have to wait, or go on in a slow extent */
} log_census;

/* Holds `lock`. */
static log_census take_census(const aur_segment *segment) {
    const auri_log *log = &segment->log;
    const auri_extent *active = log->active;
    log_census census = {0};
    bool has_zeroed = false;
    for (uint32_t at = 0; at < log->count; at++) {
        auri_extent *extent = log->extents[at];
        if (extent->sequence > log->floor) {
            census.unused += extent->size_bytes;
            has_zeroed |= !extent->slow;
        } else if (extent != active && extent->sequence < segment->manifest.replay.sequence) {
            census.oldest = census.oldest == NULL ? extent : census.oldest;
            census.flushed += extent->size_bytes;
        } else if (extent == active) {
            census.unused += extent->size_bytes - extent->used_bytes;
        }
    }
    census.wants_spare = census.unused < log->bytes / SPARE_SHARE;
    census.wants_zeroed =
        !log->is_bulk && (census.wants_spare || (active != NULL && active->slow && !has_zeroed));
    return census;
}

/* The extent to recycle or remove, taken out of the list; NULL when all are still of use: to the
 * segment itself, or to a copy that catches up. A log of some length goes round rather than grow:
 * an extent that is made is written twice. Holds `lock`. */
static auri_extent *take_flushed(aur_segment *segment, const log_census *census) {
    auri_extent *oldest = census->oldest;
    const uint64_t full = segment->options.extent_bytes;
    const bool goes_round = census->wants_spare && segment->log.bytes >= full;
    if (oldest == NULL || (oldest->link_offset != 0 && !goes_round &&
                           census->flushed - oldest->size_bytes < AURI_RETAINED_EXTENTS * full)) {
        return NULL;
    }
    auri_segment_log_take_out(&segment->log, oldest);
    return oldest;
}

/* Writes the part of a slow extent that no frame has reached, so that it is not slow in its next
 * life. */
static aur_status zero_rest(const auri_extent *extent, aur_error *error) {
    uint8_t *zeros = aligned_alloc(AUR_FRAME_ALIGN, ZERO_CHUNK_BYTES);
    aur_status status = AUR_OK;
    if (zeros == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for zeros");
    }
    memset(zeros, 0, ZERO_CHUNK_BYTES);
    for (uint64_t at = extent->used_bytes; at < extent->size_bytes && status == AUR_OK;) {
        const uint64_t left = extent->size_bytes - at;
        const size_t length = left < ZERO_CHUNK_BYTES ? (size_t)left : ZERO_CHUNK_BYTES;
        status = aur_file_write(extent->file, at, zeros, length, error);
        at += length;
    }
    free(zeros);
    return status;
}

/* Gives a flushed extent's file a new sequence number. Its old frames stay in it: stale_lsn tells a
 * scan what they are, and none of them can link to the chain. */
static aur_status recycle(aur_segment *segment, auri_extent *flushed, aur_error *error) {
    char from[AURI_NAME_BYTES];
    char to[AURI_NAME_BYTES];
    auri_segment_extent_name(flushed->sequence, from);
    pthread_mutex_lock(&segment->lock);
    auri_extent *extent = extent_allocate(segment->log.next_sequence++, flushed->size_bytes);
    const aur_lsn stale_lsn = segment->manifest.flushed_lsn;
    pthread_mutex_unlock(&segment->lock);
    aur_status status = flushed->slow ? zero_rest(flushed, error) : AUR_OK;
    auri_segment_extent_release(flushed);
    if (extent == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a log extent");
    }
    extent->stale_lsn = stale_lsn;
    auri_segment_extent_name(extent->sequence, to);
    if (status == AUR_OK) {
        status = aur_disk_rename(segment->disk, from, to, error);
    }
    if (status == AUR_OK) {
        status = aur_disk_open_file(segment->disk, to, AUR_FILE_DURABLE | AUR_FILE_READ,
                                    &extent->file, error);
    }
    if (status == AUR_OK) {
        status = write_header(extent, &segment->identity, error);
    }
    if (status == AUR_OK) {
        pthread_mutex_lock(&segment->lock);
        status = auri_segment_log_insert(&segment->log, extent);
        pthread_mutex_unlock(&segment->lock);
    }
    if (status != AUR_OK) {
        auri_segment_extent_release(extent);
        forget_file(segment->disk, to);
    }
    return status;
}

static aur_status discard(aur_segment *segment, auri_extent *extent, aur_error *error) {
    char name[AURI_NAME_BYTES];
    auri_segment_extent_name(extent->sequence, name);
    auri_segment_extent_release(extent);
    const aur_status status = aur_disk_remove(segment->disk, name, error);
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}

aur_status auri_segment_log_maintain(aur_segment *segment, aur_error *error) {
    pthread_mutex_lock(&segment->lock);
    const log_census census = take_census(segment);
    auri_extent *flushed = take_flushed(segment, &census);
    pthread_mutex_unlock(&segment->lock);
    if (flushed != NULL) {
        return census.wants_spare ? recycle(segment, flushed, error)
                                  : discard(segment, flushed, error);
    }
    return census.wants_zeroed ? grow(segment, 0, false, error) : AUR_NOT_FOUND;
}

/* Whether every frame is in layers, and none is on its way. Holds `lock`. */
static bool all_in_layers(const aur_segment *segment) {
    return segment->pending_count == 0 && segment->frozen == NULL &&
           segment->chain_lsn == segment->scl && segment->manifest.flushed_lsn == segment->scl;
}

/* How long the log may stay while nothing is written. Beside large layers as much stays as goes
 * round: what is written next would go into new extents, which are zeroed first. Holds `lock`. */
static uint64_t restful_bytes(const aur_segment *segment) {
    const uint64_t first = first_size(segment);
    const uint64_t most = REST_EXTENTS * segment->options.extent_bytes;
    uint64_t layer_bytes = 0;
    for (uint32_t at = 0; at < segment->manifest.layer_count; at++) {
        layer_bytes += segment->manifest.layers[at].size_bytes;
    }
    const uint64_t share = layer_bytes / REST_SHARE < most ? layer_bytes / REST_SHARE : most;
    return share > first ? share : first;
}

/* Holds `lock`. */
static bool is_large(const aur_segment *segment) {
    return segment->log.bytes > restful_bytes(segment) &&
           segment->log.bytes > segment->options.extent_bytes / LARGE_SHARE;
}

bool aur_segment_log_is_large(aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    const bool large = is_large(segment);
    pthread_mutex_unlock(&segment->lock);
    return large;
}

/* Begins the log anew with a small extent: from here on replay needs none of the others. */
static aur_status begin_anew(aur_segment *segment, aur_error *error) {
    auri_extent *extent;
    auri_manifest draft;
    pthread_mutex_lock(&segment->lock);
    const uint64_t sequence = segment->log.next_sequence++;
    pthread_mutex_unlock(&segment->lock);
    aur_status status = auri_segment_extent_create(segment->disk, &segment->identity, sequence,
                                                   first_size(segment), &extent, error);
    if (status != AUR_OK) {
        return status;
    }
    pthread_mutex_lock(&segment->lock);
    status = auri_segment_log_insert(&segment->log, extent);
    const bool unused = status == AUR_OK && all_in_layers(segment);
    if (unused) {
        segment->log.active = NULL;
        segment->log.floor = sequence - 1;
    }
    pthread_mutex_unlock(&segment->lock);
    if (status != AUR_OK) {
        auri_segment_extent_release(extent);
        return aur_fail(error, status, "no memory for the list of log extents");
    }
    if (!unused) {
        return AUR_OK; /* something was appended just now: the extent is one more that is ready */
    }
    pthread_mutex_lock(&segment->manifest_lock);
    status = auri_segment_draft(segment, &draft, error);
    if (status == AUR_OK) {
        status = auri_segment_install(segment, &draft, NULL, false, error);
    }
    pthread_mutex_unlock(&segment->manifest_lock);
    return status;
}

/* Removes extents that replay does not need, the oldest first, as long as the log may not stay as
 * it is. AUR_NOT_FOUND: there was none. */
static aur_status discard_flushed(aur_segment *segment, aur_error *error) {
    aur_status status = AUR_NOT_FOUND;
    for (;;) {
        pthread_mutex_lock(&segment->lock);
        const bool may_stay = segment->log.bytes <= restful_bytes(segment);
        auri_extent *flushed = may_stay ? NULL : take_census(segment).oldest;
        if (flushed != NULL) {
            auri_segment_log_take_out(&segment->log, flushed);
        }
        pthread_mutex_unlock(&segment->lock);
        if (flushed == NULL) {
            return status;
        }
        status = discard(segment, flushed, error);
        if (status != AUR_OK) {
            return status;
        }
    }
}

aur_status auri_segment_log_trim(aur_segment *segment, aur_error *error) {
    const aur_status discarded = discard_flushed(segment, error);
    pthread_mutex_lock(&segment->lock);
    const bool begins_anew = all_in_layers(segment) && is_large(segment);
    pthread_mutex_unlock(&segment->lock);
    if (discarded < AUR_OK || !begins_anew) {
        return discarded;
    }
    aur_status status = begin_anew(segment, error);
    if (status == AUR_OK) {
        status = discard_flushed(segment, error);
    }
    return status == AUR_NOT_FOUND ? AUR_OK : status;
}
