/*
 * When commits happened. A commit is the record that ends a mini-transaction; its time is in it.
 * What is in memory is looked up in the frames themselves; a delta layer carries the commits of its
 * LSN range, and chronicles carry those of the deltas that have become base, as far back as the
 * horizon.
 *
 * A block of commits: u64 LSN and u64 time of the first, then for each further one two varints,
 * what LSN and time grew by.
 */
#include "segment/segment_private.h"

enum { FIRST_BYTES = 16, VARINT_BYTES_MAX = 10 };

/* ---- Blocks ---- */

static void put_varint(auri_bytes *out, uint64_t value) {
    while (value >= 0x80) {
        out->bytes[out->length++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out->bytes[out->length++] = (uint8_t)value;
}

/* False at the end of the bytes, or when the number is longer than 64 bits. */
static bool get_varint(const uint8_t *bytes, size_t length, size_t *at, uint64_t *value_out) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *at < length; shift += 7) {
        const uint8_t byte = bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *value_out = value;
            return true;
        }
    }
    return false;
}

bool auri_segment_commits_encode(const aur_commit_mark *commits, size_t count, auri_bytes *out) {
    if (!auri_segment_bytes_reserve(out, FIRST_BYTES + 2 * VARINT_BYTES_MAX * count)) {
        return false;
    }
    aur_put64(out->bytes + out->length, commits[0].lsn);
    aur_put64(out->bytes + out->length + 8, commits[0].time_us);
    out->length += FIRST_BYTES;
    for (size_t at = 1; at < count; at++) {
        put_varint(out, commits[at].lsn - commits[at - 1].lsn);
        put_varint(out, commits[at].time_us - commits[at - 1].time_us);
    }
    return true;
}

/* Decodes the next commit of a block; false at its end or where it is broken. */
static bool next_commit(const uint8_t *bytes, size_t length, size_t *at, aur_commit_mark *commit) {
    uint64_t lsn;
    uint64_t time_us;
    if (*at == 0) {
        if (length < FIRST_BYTES) {
            return false;
        }
        *commit = (aur_commit_mark){aur_get64(bytes), aur_get64(bytes + 8)};
        *at = FIRST_BYTES;
        return true;
    }
    if (!get_varint(bytes, length, at, &lsn) || !get_varint(bytes, length, at, &time_us)) {
        return false;
    }
    commit->lsn += lsn;
    commit->time_us += time_us;
    return true;
}

/* ---- One layer ---- */

/* The pointers to a layer's blocks of commits, read and verified. */
static aur_status read_index(auri_layer *layer, auri_block_buffer *index, uint32_t *blocks_out,
                             aur_error *error) {
    *blocks_out = 0;
    if (layer->info.commits == 0 || layer->info.size_bytes == 0) {
        return AUR_OK;
    }
    aur_status status = auri_segment_layer_load(layer, error);
    if (status == AUR_OK) {
        status = auri_segment_layer_read_block(layer, &layer->commit_index, index, error);
    }
    *blocks_out = status == AUR_OK ? layer->commit_index.raw_bytes / AUR_POINTER_BYTES : 0;
    return status;
}

/* What a search looks for: true of all commits up to some point, and false after it. */
typedef bool commit_test(const aur_commit_mark *commit, uint64_t bound);

static bool is_by_time(const aur_commit_mark *commit, uint64_t bound) {
    return commit->time_us <= bound;
}

static bool is_by_lsn(const aur_commit_mark *commit, uint64_t bound) {
    return commit->lsn <= bound;
}

/* What was found: the newest commit that passes the test, and how many commits of the layer do. */
typedef struct commit_search {
    commit_test *test;
    uint64_t bound;
    aur_commit_mark newest;
    uint64_t count;
} commit_search;

/* Blocks whose first commit passes; the last of them is where the test begins to fail. */
static uint32_t passing_blocks(const uint8_t *pointers, uint32_t blocks,
                               const commit_search *search) {
    uint32_t low = 0;
    uint32_t high = blocks;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        auri_pointer pointer;
        auri_segment_pointer_decode(pointers + (size_t)middle * AUR_POINTER_BYTES, &pointer);
        const aur_commit_mark first = {.lsn = pointer.first_lsn, .time_us = pointer.first_page};
        if (search->test(&first, search->bound)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static aur_status search_layer(auri_layer *layer, commit_search *search, aur_error *error) {
    auri_block_buffer index = {0};
    auri_block_buffer data = {0};
    uint32_t blocks;
    search->count = 0;
    aur_status status = read_index(layer, &index, &blocks, error);
    const uint32_t passing = status == AUR_OK ? passing_blocks(index.raw, blocks, search) : 0;
    if (passing > 0) {
        auri_pointer pointer;
        auri_segment_pointer_decode(index.raw + (size_t)(passing - 1) * AUR_POINTER_BYTES,
                                    &pointer);
        status = auri_segment_layer_read_block(layer, &pointer, &data, error);
        aur_commit_mark commit;
        search->count = (uint64_t)(passing - 1) * AURI_COMMITS_PER_BLOCK;
        for (size_t at = 0; status == AUR_OK &&
                            next_commit(data.raw, pointer.raw_bytes, &at, &commit) &&
                            search->test(&commit, search->bound);) {
            search->newest = commit;
            search->count++;
        }
    }
    auri_segment_block_buffer_free(&index);
    auri_segment_block_buffer_free(&data);
    return status;
}

aur_status auri_segment_layer_commits(auri_layer *layer, aur_lsn after, aur_lsn upto,
                                      aur_status (*visit)(void *context,
                                                          const aur_commit_mark *commit,
                                                          aur_error *error),
                                      void *context, aur_error *error) {
    auri_block_buffer index = {0};
    auri_block_buffer data = {0};
    uint32_t blocks;
    aur_status status = read_index(layer, &index, &blocks, error);
    for (uint32_t block = 0; block < blocks && status == AUR_OK; block++) {
        auri_pointer pointer;
        auri_segment_pointer_decode(index.raw + (size_t)block * AUR_POINTER_BYTES, &pointer);
        if (pointer.first_lsn > upto) {
            break;
        }
        status = auri_segment_layer_read_block(layer, &pointer, &data, error);
        aur_commit_mark commit;
        for (size_t at = 0;
             status == AUR_OK && next_commit(data.raw, pointer.raw_bytes, &at, &commit);) {
            if (commit.lsn > after && commit.lsn <= upto) {
                status = visit(context, &commit, error);
            }
        }
    }
    auri_segment_block_buffer_free(&index);
    auri_segment_block_buffer_free(&data);
    return status;
}

/* ---- What is in memory ---- */

bool auri_segment_frame_commit(const aur_frame *frame, size_t *at, aur_commit_mark *commit_out) {
    const uint8_t *bytes = NULL;
    *at = *at == 0 ? AUR_FRAME_BODY_AT : *at;
    while (*at < frame->header.length && bytes == NULL) {
        const uint8_t *record = frame->bytes + *at;
        bytes = (record[AUR_RECORD_FLAGS_AT] & AUR_RECORD_CPL) != 0 ? record : NULL;
        *at += aur_get32(record + AUR_RECORD_LENGTH_AT);
    }
    if (bytes == NULL) {
        return false;
    }
    *commit_out =
        (aur_commit_mark){aur_get64(bytes + AUR_RECORD_LSN_AT), aur_record_commit_time(bytes)};
    return true;
}

/* Up to `floor` layers have the commits too. */
static void search_memtable(const auri_memtable *table, aur_lsn floor, aur_lsn limit,
                            commit_search *search) {
    search->count = 0;
    for (uint32_t slot = 0; slot < table->slot_count; slot++) {
        const aur_frame *frame = table->slots[slot].frame;
        aur_commit_mark commit;
        for (size_t at = 0; auri_segment_frame_commit(frame, &at, &commit);) {
            if (commit.lsn > limit || !search->test(&commit, search->bound)) {
                return;
            }
            if (commit.lsn > floor) {
                search->newest = commit;
                search->count++;
            }
        }
    }
}

/* ---- The segment ---- */

/* Looks from the newest part to the oldest until the newest commit that passes is found; with
 * `everywhere` goes on, and adds up how many there are. */
static aur_status search_segment(aur_segment *segment, commit_search *search, bool everywhere,
                                 aur_error *error) {
    aur_status status = AUR_OK;
    uint64_t count = 0;
    aur_commit_mark newest = {0};
    pthread_mutex_lock(&segment->lock);
    auri_memtable *tables[] = {
        auri_segment_memtable_acquire(segment->active),
        segment->frozen == NULL ? NULL : auri_segment_memtable_acquire(segment->frozen)};
    auri_view *view = auri_segment_view_acquire(segment->view);
    /* The active memtable may grow once the lock is released. */
    const aur_lsn floor = segment->manifest.flushed_lsn;
    search_memtable(tables[0], floor, AUR_LSN_MAX, search);
    pthread_mutex_unlock(&segment->lock);
    newest = search->count > 0 ? search->newest : newest;
    count += search->count;
    if (tables[1] != NULL && (everywhere || count == 0)) {
        search_memtable(tables[1], floor, tables[1]->limit, search);
        newest = count == 0 && search->count > 0 ? search->newest : newest;
        count += search->count;
    }
    for (uint32_t at = 0; at < view->layer_count && status == AUR_OK && (everywhere || count == 0);
         at++) {
        status = search_layer(view->layers[at], search, error);
        newest = count == 0 && search->count > 0 ? search->newest : newest;
        count += search->count;
    }
    auri_segment_memtable_release(tables[0]);
    auri_segment_memtable_release(tables[1]);
    auri_segment_view_release(view);
    search->newest = newest;
    search->count = count;
    return status;
}

static aur_status find_commit(aur_segment *segment, commit_test *test, uint64_t bound,
                              aur_commit_mark *out, aur_error *error) {
    commit_search search = {.test = test, .bound = bound};
    const aur_status status = search_segment(segment, &search, false, error);
    if (status != AUR_OK) {
        return status;
    }
    *out = search.newest;
    return search.count > 0 ? AUR_OK : AUR_NOT_FOUND;
}

aur_status aur_segment_commit_at_time(aur_segment *segment, uint64_t time_us, aur_commit_mark *out,
                                      aur_error *error) {
    return find_commit(segment, is_by_time, time_us, out, error);
}

aur_status aur_segment_commit_at_lsn(aur_segment *segment, aur_lsn lsn, aur_commit_mark *out,
                                     aur_error *error) {
    return find_commit(segment, is_by_lsn, lsn, out, error);
}

aur_status aur_segment_count_commits(aur_segment *segment, aur_lsn after, aur_lsn upto,
                                     uint64_t *count_out, aur_error *error) {
    commit_search first = {.test = is_by_lsn, .bound = after};
    commit_search last = {.test = is_by_lsn, .bound = upto};
    aur_status status = search_segment(segment, &last, true, error);
    if (status == AUR_OK) {
        status = search_segment(segment, &first, true, error);
    }
    *count_out = status == AUR_OK && last.count > first.count ? last.count - first.count : 0;
    return status;
}
