/*
 * Writing a layer: header, data blocks, index blocks, root, page bitmap, commits, footer. One pass,
 * little memory: the index is collected on the way (40 bytes a block) and written behind the data.
 */
#include <stdio.h>
#include <stdlib.h>

#include <zstd.h>

#include "segment/segment_private.h"

enum {
    OUT_BYTES = 256 << 10,
    ZSTD_LEVEL_BASE = 1,
    /* Deltas are written anew soon, so half the work for nearly the same size will do. */
    ZSTD_LEVEL_DELTA = -2,
    /* Of what a flush writes: a page has few records in it, and a read may have to look for them in
     * many such layers. */
    FLUSH_BLOCK_RAW_BYTES = 4 << 10,
};

static const char HEADER_MAGIC[8] = {'A', 'U', 'R', 'L', 'A', 'Y', 'E', 'R'};
static const char FOOTER_MAGIC[8] = {'A', 'U', 'R', 'L', 'F', 'O', 'O', 'T'};

struct auri_layer_writer {
    aur_disk *disk;
    const aur_segment_identity *identity;
    uint64_t volume_seed;
    aur_file *file;
    ZSTD_CCtx *packer;
    aur_checksum_stream *sum; /* of the file so far, `out` excluded */
    auri_layer_info info;
    auri_bytes raw;      /* the data block that is being filled */
    auri_pointer opened; /* its first record */
    auri_bytes packed;
    auri_bytes index;   /* pointers to data blocks */
    auri_bytes root;    /* pointers to index blocks */
    auri_bytes commits; /* aur_commit_mark after aur_commit_mark */
    uint8_t *bitmap;
    uint8_t *out;
    size_t out_bytes;
    uint64_t written; /* bytes of the file before `out` */
    uint64_t raw_bytes, live_bytes;
    bool finished;
};

void auri_segment_pointer_encode(const auri_pointer *pointer, uint8_t out[AUR_POINTER_BYTES]) {
    aur_put64(out + AUR_POINTER_FIRST_PAGE_AT, pointer->first_page);
    aur_put64(out + AUR_POINTER_FIRST_LSN_AT, pointer->first_lsn);
    aur_put64(out + AUR_POINTER_OFFSET_AT, pointer->offset);
    aur_put32(out + AUR_POINTER_STORED_AT, pointer->stored_bytes);
    aur_put32(out + AUR_POINTER_RAW_AT, pointer->raw_bytes);
    aur_put64(out + AUR_POINTER_SUM_AT, pointer->sum);
}

void auri_segment_layer_name(uint64_t number, char name[AURI_NAME_BYTES]) {
    (void)snprintf(name, AURI_NAME_BYTES, "layer-%016llx", (unsigned long long)number);
}

static bool is_flush(const auri_layer_info *info) {
    return info->kind == AURI_LAYER_DELTA && info->tier == 0;
}

static aur_status no_memory(aur_error *error) {
    return aur_fail(error, AUR_ERR_MEMORY, "no memory for writing a layer");
}

bool auri_segment_bytes_reserve(auri_bytes *into, size_t more) {
    if (into->length + more <= into->capacity) {
        return true;
    }
    size_t capacity = into->capacity == 0 ? 4096 : into->capacity;
    while (capacity < into->length + more) {
        capacity *= 2;
    }
    uint8_t *grown = realloc(into->bytes, capacity);
    if (grown == NULL) {
        return false;
    }
    into->bytes = grown;
    into->capacity = capacity;
    return true;
}

static aur_status write_out(auri_layer_writer *writer, aur_error *error) {
    if (writer->out_bytes == 0) {
        return AUR_OK;
    }
    const aur_status status =
        aur_file_write(writer->file, writer->written, writer->out, writer->out_bytes, error);
    aur_checksum_stream_add(writer->sum, writer->out, writer->out_bytes);
    writer->written += writer->out_bytes;
    writer->out_bytes = 0;
    return status;
}

static aur_status put_bytes(auri_layer_writer *writer, const uint8_t *bytes, size_t length,
                            aur_error *error) {
    while (length > 0) {
        const size_t room = OUT_BYTES - writer->out_bytes;
        const size_t part = length < room ? length : room;
        memcpy(writer->out + writer->out_bytes, bytes, part);
        writer->out_bytes += part;
        bytes += part;
        length -= part;
        if (writer->out_bytes == OUT_BYTES) {
            const aur_status status = write_out(writer, error);
            if (status != AUR_OK) {
                return status;
            }
        }
    }
    return AUR_OK;
}

/* Writes a block, compressed when asked and when that makes it smaller; fills in where it is. */
static aur_status put_block(auri_layer_writer *writer, const uint8_t *bytes, size_t length,
                            bool pack, auri_pointer *pointer, aur_error *error) {
    const uint8_t *stored = bytes;
    size_t stored_bytes = length;
    writer->packed.length = 0;
    if (pack && length > 0) {
        if (!auri_segment_bytes_reserve(&writer->packed, ZSTD_compressBound(length))) {
            return no_memory(error);
        }
        const int level =
            writer->info.kind == AURI_LAYER_DELTA ? ZSTD_LEVEL_DELTA : ZSTD_LEVEL_BASE;
        const size_t packed = ZSTD_compressCCtx(writer->packer, writer->packed.bytes,
                                                writer->packed.capacity, bytes, length, level);
        if (!ZSTD_isError(packed) && packed < length) {
            stored = writer->packed.bytes;
            stored_bytes = packed;
        }
    }
    pointer->offset = writer->written + writer->out_bytes;
    pointer->stored_bytes = (uint32_t)stored_bytes;
    pointer->raw_bytes = (uint32_t)length;
    pointer->sum = aur_checksum(
        stored, stored_bytes,
        auri_segment_layer_seed(writer->volume_seed, writer->info.number, pointer->offset));
    return put_bytes(writer, stored, stored_bytes, error);
}

static aur_status put_header(auri_layer_writer *writer, aur_error *error) {
    uint8_t head[AUR_LAYER_BYTES] = {0};
    memcpy(head + AUR_LAYER_MAGIC_AT, HEADER_MAGIC, sizeof HEADER_MAGIC);
    aur_put32(head + AUR_LAYER_VERSION_AT, AUR_SEGMENT_FORMAT);
    aur_put32(head + AUR_LAYER_GROUP_AT, writer->identity->group);
    memcpy(head + AUR_LAYER_VOLUME_AT, writer->identity->volume_id, AUR_VOLUME_ID_BYTES);
    aur_put64(head + AUR_LAYER_NUMBER_AT, writer->info.number);
    aur_put32(head + AUR_LAYER_PAGE_BYTES_AT, writer->identity->page_bytes);
    aur_put64(head + AUR_LAYER_SUM_AT, aur_checksum(head, AUR_LAYER_SUM_AT, 0));
    return put_bytes(writer, head, sizeof head, error);
}

/*
 * A number names a file in all copies that take the layer over, so no two layers of a group may
 * ever have the same one. The count is above that of every layer this copy has known; the rest
 * mixes in who builds it and when, because a copy that was away or is made anew does not know all.
 */
static uint64_t take_number(aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    const uint64_t count = segment->next_layer++;
    const uint64_t circumstances[] = {count, segment->identity.copy, segment->manifest.epoch,
                                      segment->manifest.edition, segment->scl};
    pthread_mutex_unlock(&segment->lock);
    const uint64_t mix = aur_checksum(circumstances, sizeof circumstances, segment->volume_seed);
    return count << AURI_NUMBER_MIX_BITS | (mix >> (64 - AURI_NUMBER_MIX_BITS));
}

/* Makes the layer's file. AUR_ERR_INVALID: the segment has a layer of that number. */
static aur_status create_file(aur_segment *segment, auri_layer_writer *writer, aur_error *error) {
    char name[AURI_NAME_BYTES];
    if (auri_segment_has_number(segment, writer->info.number)) {
        return aur_fail(error, AUR_ERR_INVALID, "layer %llu exists already",
                        (unsigned long long)writer->info.number);
    }
    auri_segment_layer_name(writer->info.number, name);
    auri_segment_claim_number(segment, writer->info.number);
    /* A file of that name can only be one that a crash left. */
    const aur_status status = aur_disk_remove(writer->disk, name, error);
    if (status != AUR_OK && status != AUR_NOT_FOUND) {
        return status;
    }
    return aur_disk_open_file(writer->disk, name, AUR_FILE_WRITE | AUR_FILE_READ, &writer->file,
                              error);
}

aur_status auri_segment_layer_writer_open(aur_segment *segment, uint32_t kind, uint32_t tier,
                                          aur_page_id first_page, auri_layer_writer **writer_out,
                                          aur_error *error) {
    *writer_out = NULL;
    auri_layer_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return no_memory(error);
    }
    writer->disk = segment->disk;
    writer->identity = &segment->identity;
    writer->volume_seed = segment->volume_seed;
    writer->info.number = take_number(segment);
    writer->info.kind = kind;
    writer->info.tier = tier;
    writer->info.first_page = first_page;
    writer->info.last_page = first_page;
    memcpy(writer->info.origin, segment->identity.volume_id, AUR_VOLUME_ID_BYTES);
    writer->bitmap = calloc((size_t)(segment->identity.group_pages + 7) / 8, 1);
    writer->out = malloc(OUT_BYTES);
    writer->packer = ZSTD_createCCtx();
    writer->sum = aur_checksum_stream_create(
        auri_segment_layer_seed(writer->volume_seed, writer->info.number, 0));
    aur_status status = AUR_OK;
    if (writer->bitmap == NULL || writer->out == NULL || writer->packer == NULL ||
        writer->sum == NULL) {
        status = no_memory(error);
    }
    if (status == AUR_OK) {
        status = create_file(segment, writer, error);
    }
    if (status == AUR_OK) {
        status = put_header(writer, error);
    }
    if (status != AUR_OK) {
        auri_segment_layer_writer_close(writer);
        return status;
    }
    *writer_out = writer;
    return AUR_OK;
}

/* What one copy flushes alone is written anew soon, and compressing it takes longer than the disk
 * does for the difference; of several copies each one writes it. */
static bool is_packed(const auri_layer_writer *writer) {
    return !is_flush(&writer->info) || writer->identity->copies > 1;
}

/* Ends the data block that is being filled. */
static aur_status close_block(auri_layer_writer *writer, aur_error *error) {
    if (writer->raw.length == 0) {
        return AUR_OK;
    }
    const aur_status status = put_block(writer, writer->raw.bytes, writer->raw.length,
                                        is_packed(writer), &writer->opened, error);
    if (status != AUR_OK) {
        return status;
    }
    if (!auri_segment_bytes_reserve(&writer->index, AUR_POINTER_BYTES)) {
        return no_memory(error);
    }
    auri_segment_pointer_encode(&writer->opened, writer->index.bytes + writer->index.length);
    writer->index.length += AUR_POINTER_BYTES;
    writer->raw.length = 0;
    return AUR_OK;
}

static void note_record(auri_layer_writer *writer, const aur_record *record) {
    auri_layer_info *info = &writer->info;
    const uint64_t bit =
        record->page_id - (aur_page_id)writer->identity->group * writer->identity->group_pages;
    writer->bitmap[bit / 8] |= (uint8_t)(1u << (bit % 8));
    if (info->records == 0) {
        info->first_page = info->kind == AURI_LAYER_BASE ? info->first_page : record->page_id;
        info->first_lsn = record->lsn;
    }
    info->last_page = record->page_id;
    info->first_lsn = record->lsn < info->first_lsn ? record->lsn : info->first_lsn;
    info->last_lsn = record->lsn > info->last_lsn ? record->lsn : info->last_lsn;
    info->records++;
}

aur_status auri_segment_layer_writer_add(auri_layer_writer *writer, const aur_record *record,
                                         const uint8_t *bytes, size_t length, aur_error *error) {
    const uint32_t full = is_flush(&writer->info) ? FLUSH_BLOCK_RAW_BYTES : AURI_BLOCK_RAW_BYTES;
    if (writer->raw.length > 0 && writer->raw.length + length > full) {
        const aur_status status = close_block(writer, error);
        if (status != AUR_OK) {
            return status;
        }
    }
    if (!auri_segment_bytes_reserve(&writer->raw, length)) {
        return no_memory(error);
    }
    if (writer->raw.length == 0) {
        writer->opened.first_page = record->page_id;
        writer->opened.first_lsn = record->lsn;
    }
    memcpy(writer->raw.bytes + writer->raw.length, bytes, length);
    writer->raw.length += length;
    writer->raw_bytes += length;
    note_record(writer, record);
    return AUR_OK;
}

aur_status auri_segment_layer_writer_commit(auri_layer_writer *writer,
                                            const aur_commit_mark *commit, aur_error *error) {
    auri_layer_info *info = &writer->info;
    if (!auri_segment_bytes_reserve(&writer->commits, sizeof *commit)) {
        return no_memory(error);
    }
    memcpy(writer->commits.bytes + writer->commits.length, commit, sizeof *commit);
    writer->commits.length += sizeof *commit;
    info->first_time_us = info->commits == 0 ? commit->time_us : info->first_time_us;
    info->last_time_us = commit->time_us;
    info->commits++;
    if (info->kind == AURI_LAYER_CHRONICLE) {
        info->first_lsn = info->commits == 1 ? commit->lsn : info->first_lsn;
        info->last_lsn = commit->lsn;
    }
    return AUR_OK;
}

void auri_segment_layer_writer_live(auri_layer_writer *writer, size_t bytes) {
    writer->live_bytes += bytes;
}

uint64_t auri_segment_layer_writer_bytes(const auri_layer_writer *writer) {
    return writer->written + writer->out_bytes + writer->raw.length;
}

/* Writes the collected pointers in blocks, and pointers to those into the root. */
static aur_status put_index(auri_layer_writer *writer, auri_pointer *root, aur_error *error) {
    const size_t step = (size_t)AURI_INDEX_ENTRIES * AUR_POINTER_BYTES;
    for (size_t at = 0; at < writer->index.length; at += step) {
        const size_t left = writer->index.length - at;
        const uint8_t *bytes = writer->index.bytes + at;
        auri_pointer pointer;
        auri_segment_pointer_decode(bytes, &pointer);
        const aur_status status =
            put_block(writer, bytes, left < step ? left : step, false, &pointer, error);
        if (status != AUR_OK) {
            return status;
        }
        if (!auri_segment_bytes_reserve(&writer->root, AUR_POINTER_BYTES)) {
            return no_memory(error);
        }
        auri_segment_pointer_encode(&pointer, writer->root.bytes + writer->root.length);
        writer->root.length += AUR_POINTER_BYTES;
    }
    return put_block(writer, writer->root.bytes, writer->root.length, false, root, error);
}

/* The bitmap from the first page of the layer to its last, the first bit being the first page's. */
static aur_status put_bitmap(auri_layer_writer *writer, auri_pointer *pointer, aur_error *error) {
    const auri_layer_info *info = &writer->info;
    const aur_page_id base = (aur_page_id)writer->identity->group * writer->identity->group_pages;
    const size_t pages = info->records == 0 ? 0 : (size_t)(info->last_page - info->first_page) + 1;
    uint8_t *bits = calloc((pages + 7) / 8 + 1, 1);
    if (bits == NULL) {
        return no_memory(error);
    }
    for (size_t at = 0; at < pages; at++) {
        const uint64_t from = info->first_page - base + at;
        if ((writer->bitmap[from / 8] >> (from % 8) & 1) != 0) {
            bits[at / 8] |= (uint8_t)(1u << (at % 8));
        }
    }
    const aur_status status = put_block(writer, bits, (pages + 7) / 8, true, pointer, error);
    free(bits);
    return status;
}

static void encode_reference(const auri_pointer *pointer, uint8_t *out) {
    uint8_t whole[AUR_POINTER_BYTES];
    auri_segment_pointer_encode(pointer, whole);
    memcpy(out, whole + AUR_POINTER_OFFSET_AT, AUR_POINTER_BYTES - AUR_POINTER_OFFSET_AT);
}

/* Commits in blocks of AURI_COMMITS_PER_BLOCK, then pointers to these. */
static aur_status put_commits(auri_layer_writer *writer, auri_pointer *index, aur_error *error) {
    auri_bytes block = {0};
    auri_bytes pointers = {0};
    aur_status status = AUR_OK;
    for (uint64_t at = 0; at < writer->info.commits && status == AUR_OK;
         at += AURI_COMMITS_PER_BLOCK) {
        aur_commit_mark commits[AURI_COMMITS_PER_BLOCK];
        const uint64_t left = writer->info.commits - at;
        const size_t count = left < AURI_COMMITS_PER_BLOCK ? (size_t)left : AURI_COMMITS_PER_BLOCK;
        memcpy(commits, writer->commits.bytes + at * sizeof *commits, count * sizeof *commits);
        auri_pointer pointer = {.first_page = commits[0].time_us, .first_lsn = commits[0].lsn};
        block.length = 0;
        if (!auri_segment_commits_encode(commits, count, &block) ||
            !auri_segment_bytes_reserve(&pointers, AUR_POINTER_BYTES)) {
            status = no_memory(error);
        }
        if (status == AUR_OK) {
            status = put_block(writer, block.bytes, block.length, false, &pointer, error);
        }
        if (status == AUR_OK) {
            auri_segment_pointer_encode(&pointer, pointers.bytes + pointers.length);
            pointers.length += AUR_POINTER_BYTES;
        }
    }
    if (status == AUR_OK) {
        status = put_block(writer, pointers.bytes, pointers.length, false, index, error);
    }
    free(block.bytes);
    free(pointers.bytes);
    return status;
}

static aur_status put_footer(auri_layer_writer *writer, const auri_pointer *root,
                             const auri_pointer *bitmap, const auri_pointer *commits,
                             aur_error *error) {
    uint8_t foot[AUR_FOOTER_BYTES] = {0};
    auri_layer_info *info = &writer->info;
    memcpy(foot + AUR_FOOTER_MAGIC_AT, FOOTER_MAGIC, sizeof FOOTER_MAGIC);
    aur_put32(foot + AUR_FOOTER_VERSION_AT, AUR_SEGMENT_FORMAT);
    aur_put32(foot + AUR_FOOTER_TIER_AT, info->tier);
    aur_put64(foot + AUR_FOOTER_NUMBER_AT, info->number);
    aur_put64(foot + AUR_FOOTER_RECORDS_AT, info->records);
    aur_put64(foot + AUR_FOOTER_FIRST_LSN_AT, info->first_lsn);
    aur_put64(foot + AUR_FOOTER_LAST_LSN_AT, info->last_lsn);
    aur_put64(foot + AUR_FOOTER_FIRST_PAGE_AT, info->first_page);
    aur_put64(foot + AUR_FOOTER_LAST_PAGE_AT, info->last_page);
    encode_reference(root, foot + AUR_FOOTER_ROOT_AT);
    encode_reference(bitmap, foot + AUR_FOOTER_BITMAP_AT);
    encode_reference(commits, foot + AUR_FOOTER_COMMITS_AT);
    aur_put64(foot + AUR_FOOTER_COMMIT_COUNT_AT, info->commits);
    aur_put64(foot + AUR_FOOTER_FIRST_TIME_AT, info->first_time_us);
    aur_put64(foot + AUR_FOOTER_LAST_TIME_AT, info->last_time_us);
    aur_put64(foot + AUR_FOOTER_COMPLETE_AT, info->complete_lsn);
    aur_put32(foot + AUR_FOOTER_KIND_AT, info->kind);
    info->footer_sum = aur_checksum(foot, AUR_FOOTER_SUM_AT,
                                    auri_segment_layer_seed(writer->volume_seed, info->number, 0));
    aur_put64(foot + AUR_FOOTER_SUM_AT, info->footer_sum);
    return put_bytes(writer, foot, sizeof foot, error);
}

/* What the newest versions take of the file, by their part of the bytes before compression. */
static uint64_t live_bytes(const auri_layer_writer *writer) {
    if (writer->raw_bytes == 0) {
        return 0;
    }
    const double part = (double)writer->live_bytes / (double)writer->raw_bytes;
    return (uint64_t)(part * (double)writer->written);
}

aur_status auri_segment_layer_writer_finish(auri_layer_writer *writer, aur_lsn complete_lsn,
                                            auri_layer_info *info_out, aur_error *error) {
    auri_pointer root = {0};
    auri_pointer bitmap = {0};
    auri_pointer commits = {0};
    writer->info.complete_lsn = complete_lsn;
    aur_status status = close_block(writer, error);
    if (status == AUR_OK) {
        status = put_index(writer, &root, error);
    }
    if (status == AUR_OK) {
        status = put_bitmap(writer, &bitmap, error);
    }
    if (status == AUR_OK) {
        status = put_commits(writer, &commits, error);
    }
    if (status == AUR_OK) {
        status = put_footer(writer, &root, &bitmap, &commits, error);
    }
    if (status == AUR_OK) {
        status = write_out(writer, error);
    }
    if (status == AUR_OK) {
        status = aur_file_sync(writer->file, error);
    }
    if (status == AUR_OK) {
        status = aur_disk_sync_directory(writer->disk, error);
    }
    writer->finished = status == AUR_OK;
    writer->info.size_bytes = writer->written;
    writer->info.live_bytes = live_bytes(writer);
    writer->info.file_sum = aur_checksum_stream_sum(writer->sum);
    *info_out = writer->info;
    return status;
}

static void remove_file(const auri_layer_writer *writer) {
    char name[AURI_NAME_BYTES];
    auri_segment_layer_name(writer->info.number, name);
    /* What cannot be removed now is removed after the next open: no manifest names it. */
    const aur_status removed = aur_disk_remove(writer->disk, name, NULL);
    (void)removed;
}

void auri_segment_layer_writer_close(auri_layer_writer *writer) {
    if (writer == NULL) {
        return;
    }
    if (writer->file != NULL) {
        aur_file_close(writer->file);
        if (!writer->finished) {
            remove_file(writer);
        }
    }
    ZSTD_freeCCtx(writer->packer);
    aur_checksum_stream_destroy(writer->sum);
    free(writer->raw.bytes);
    free(writer->packed.bytes);
    free(writer->index.bytes);
    free(writer->root.bytes);
    free(writer->commits.bytes);
    free(writer->bitmap);
    free(writer->out);
    free(writer);
}
