/*
 * Reading the hot log back at open.
 *
 * The chain decides: a frame belongs to it iff its prev_lsn is the SCL reached so far. Frames of an
 * earlier life of a recycled extent (up to stale_lsn), frames that were written twice, and frames
 * that a truncation dropped are passed over. Where an extent has no further frame, the chain goes
 * on in the next extent or ends. At its end the scan looks ahead: a later frame that knows of a VDL
 * above the SCL, or an SCL below the one that the manifest has seen, means that frames were here
 * and are gone. That is damage; without either it is the torn tail of writes that nobody was told
 * of.
 */
#include <stdlib.h>

#include "base/planted.h"
#include "segment/segment_private.h"

enum {
    WINDOW_BYTES = 1 << 20,
    ANNOUNCED_BYTES = 1 << 20,    /* of the chain, while what came before is looked at */
    LOOK_AHEAD_BYTES = 1 << 20,   /* past a clean end, if no frame tells how long they are */
    LOOK_AHEAD_FRAMES = 2,        /* past a clean end, in frames as long as the longest */
    LOOK_AHEAD_BROKEN = 16 << 20, /* past something that is no frame and no zeros */
};

typedef struct log_scan {
    aur_segment *segment;
    auri_extent *extent;
    uint8_t *window;
    uint64_t window_at;
    size_t window_bytes;
    size_t next_bytes;     /* to be read next: more, the further a scan has come */
    uint64_t announced;    /* up to here the disk knows that the present extent is read */
    uint64_t end;          /* where the scan of the present extent stopped */
    bool broken;           /* it stopped at bytes that are neither zeros nor stale */
    uint64_t chain_extent; /* sequence and offset where the chain ended */
    uint64_t chain_end;
    bool chain_broken;
    uint64_t longest;   /* of the chain's frames, padded */
    uint64_t dirty;     /* highest sequence that holds anything not to be overwritten */
    aur_lsn beyond_vdl; /* highest VDL known to frames after the chain's end */
    aur_error error;
} log_scan;

static void begin_extent(log_scan *scan, auri_extent *extent) {
    scan->extent = extent;
    scan->window_bytes = 0;
    scan->next_bytes = AURI_SCAN_BYTES_FIRST;
    scan->announced = 0;
}

/* The chain goes on at `offset`, and mostly behind it. */
static void announce(log_scan *scan, uint64_t offset) {
    const uint64_t from = offset > scan->announced ? offset : scan->announced;
    if (from - offset < ANNOUNCED_BYTES / 2) {
        aur_file_will_read(scan->extent->file, from, ANNOUNCED_BYTES);
        scan->announced = from + ANNOUNCED_BYTES;
    }
}

/* `length` bytes at `offset` of the extent, or NULL when they are not there or unreadable. */
static const uint8_t *peek(log_scan *scan, uint64_t offset, size_t length) {
    if (offset + length > scan->extent->size_bytes || length > WINDOW_BYTES) {
        return NULL;
    }
    if (offset < scan->window_at || offset + length > scan->window_at + scan->window_bytes) {
        const size_t wanted = length < scan->next_bytes ? scan->next_bytes : WINDOW_BYTES;
        scan->window_at = offset;
        scan->window_bytes = 0;
        scan->next_bytes = 2 * wanted < WINDOW_BYTES ? 2 * wanted : WINDOW_BYTES;
        const aur_status status = aur_file_read(scan->extent->file, offset, scan->window, wanted,
                                                &scan->window_bytes, &scan->error);
        if (status != AUR_OK) {
            auri_segment_note_damage(scan->segment, &scan->error);
            scan->window_bytes = 0;
        }
        if (scan->window_bytes < length) {
            return NULL;
        }
    }
    return scan->window + (offset - scan->window_at);
}

static bool is_zero(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at++) {
        if (bytes[at] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_truncated(const aur_segment *segment, const aur_frame_header *header) {
    return aur_history_truncated(segment->manifest.rewinds, segment->manifest.rewind_count,
                                 header->last_lsn, header->epoch);
}

/* The whole frame at `offset`, verified, out of the window or, if it is too long for that, into
 * memory of its own. */
static aur_status take_frame(log_scan *scan, uint64_t offset, const aur_frame_header *header,
                             aur_frame **frame_out) {
    const aur_segment *segment = scan->segment;
    const size_t padded = aur_frame_padded(header->length);
    const uint8_t *bytes = peek(scan, offset, padded);
    uint8_t *read = NULL;
    aur_status status = AUR_OK;
    if (bytes == NULL) {
        size_t length = 0;
        read = malloc(padded);
        bytes = read;
        status = read == NULL ? AUR_ERR_MEMORY
                              : aur_file_read(scan->extent->file, offset, read, padded, &length,
                                              &scan->error);
        status = status == AUR_OK && length < padded ? AUR_ERR_CORRUPT : status;
    }
    if (status == AUR_OK && !AUR_PLANTED(segment->options.planted_bugs, AUR_BUG_TORN_FRAME)) {
        status = aur_frame_check_payload(bytes, header, segment->volume_seed);
    }
    if (status == AUR_OK) {
        *frame_out = aur_frame_of(bytes, header);
        status = *frame_out != NULL ? AUR_OK : AUR_ERR_MEMORY;
    }
    free(read);
    return status;
}

/* AUR_ERR_CORRUPT for a torn or foreign frame. */
static aur_status read_frame(log_scan *scan, uint64_t offset, const aur_frame_header *header,
                             aur_frame **frame_out) {
    const aur_segment_identity *identity = &scan->segment->identity;
    *frame_out = NULL;
    if (header->group != identity->group ||
        offset + aur_frame_padded(header->length) > scan->extent->size_bytes) {
        return AUR_ERR_CORRUPT;
    }
    aur_status status = take_frame(scan, offset, header, frame_out);
    if (status == AUR_OK) {
        status = auri_segment_check_records(*frame_out, identity);
    }
    if (status != AUR_OK) {
        aur_frame_release(*frame_out);
        *frame_out = NULL;
    }
    return status;
}

static aur_status accept(log_scan *scan, uint64_t offset, const aur_frame_header *header) {
    aur_segment *segment = scan->segment;
    aur_frame *frame;
    aur_status status = read_frame(scan, offset, header, &frame);
    if (status != AUR_OK) {
        return status;
    }
    const auri_log_position position = {.sequence = scan->extent->sequence, .offset = offset};
    status = auri_segment_memtable_add(segment->active, frame, position);
    aur_frame_release(frame);
    if (status == AUR_OK) {
        auri_segment_extent_note(scan->extent, offset, header);
        segment->scl = header->last_lsn;
        if (header->vdl > segment->vdl) {
            segment->vdl = header->vdl;
        }
        const uint64_t padded = aur_frame_padded(header->length);
        scan->longest = padded > scan->longest ? padded : scan->longest;
        scan->dirty = scan->extent->sequence;
    }
    return status;
}

/* Follows the chain through one extent from `offset`; leaves in scan->end where it stopped. */
static aur_status scan_extent(log_scan *scan, uint64_t offset) {
    aur_segment *segment = scan->segment;
    aur_status status = AUR_OK;
    bool linked = false;
    scan->broken = false;
    for (;;) {
        aur_frame_header header;
        const uint8_t *bytes = peek(scan, offset, AUR_FRAME_ALIGN);
        if (bytes == NULL) {
            break;
        }
        status = aur_frame_decode(bytes, AUR_FRAME_ALIGN, segment->volume_seed, &header);
        if (status != AUR_OK) {
            scan->broken = !is_zero(bytes, AUR_FRAME_ALIGN);
            break;
        }
        if (header.last_lsn <= scan->extent->stale_lsn) {
            break;
        }
        if (header.last_lsn > segment->scl && !is_truncated(segment, &header)) {
            if (header.prev_lsn != segment->scl) {
                break;
            }
            status = accept(scan, offset, &header);
            if (status == AUR_ERR_MEMORY) {
                return status;
            }
            if (status != AUR_OK) {
                scan->broken = true;
                break;
            }
            linked = true;
        }
        offset += aur_frame_padded(header.length);
        if (linked) {
            announce(scan, offset);
        }
    }
    scan->end = offset;
    if (linked || scan->chain_extent == 0) {
        scan->chain_extent = scan->extent->sequence;
        scan->chain_end = offset;
        scan->chain_broken = scan->broken;
    }
    return AUR_OK;
}

/* Looks for live frames after the chain's end; they may not be overwritten. */
static void look_ahead(log_scan *scan, uint64_t offset, uint64_t limit) {
    aur_segment *segment = scan->segment;
    const uint64_t end = offset + limit;
    while (offset < end) {
        aur_frame_header header;
        const uint8_t *bytes = peek(scan, offset, AUR_FRAME_ALIGN);
        if (bytes == NULL) {
            break;
        }
        const aur_status status =
            aur_frame_decode(bytes, AUR_FRAME_ALIGN, segment->volume_seed, &header);
        if (status == AUR_OK && header.last_lsn > segment->scl && !is_truncated(segment, &header)) {
            scan->dirty = scan->extent->sequence;
            if (header.vdl > scan->beyond_vdl) {
                scan->beyond_vdl = header.vdl;
            }
        }
        offset += AUR_FRAME_ALIGN;
    }
}

/* Behind a clean end. A frame that was here and is gone was hardly longer than others are, so the
 * next one is near. */
static uint64_t limit_behind(const log_scan *scan) {
    const uint64_t near = LOOK_AHEAD_FRAMES * scan->longest;
    if (near == 0 || near > LOOK_AHEAD_BYTES) {
        return LOOK_AHEAD_BYTES;
    }
    return near < AURI_SCAN_BYTES_FIRST ? AURI_SCAN_BYTES_FIRST : near;
}

/* Behind what the chain's end is. An extent that has no frame of this life in its first place was
 * not begun: a few blocks more, in case that frame alone is gone, suffice. */
static uint64_t limit_in(log_scan *scan, bool holds_end) {
    aur_frame_header header;
    const uint64_t limit = scan->chain_broken ? LOOK_AHEAD_BROKEN : limit_behind(scan);
    const uint8_t *first = holds_end ? NULL : peek(scan, AURI_EXTENT_HEADER_BYTES, AUR_FRAME_ALIGN);
    if (first == NULL) {
        return limit;
    }
    const aur_status status =
        aur_frame_decode(first, AUR_FRAME_ALIGN, scan->segment->volume_seed, &header);
    const bool is_stale = status == AUR_OK && header.last_lsn <= scan->extent->stale_lsn;
    return is_stale || is_zero(first, AUR_FRAME_ALIGN) ? AURI_SCAN_BYTES_FIRST : limit;
}

static void look_ahead_everywhere(log_scan *scan) {
    const auri_log *log = &scan->segment->log;
    for (uint32_t at = 0; at < log->count; at++) {
        begin_extent(scan, log->extents[at]);
        if (scan->extent->sequence == scan->chain_extent) {
            look_ahead(scan, scan->chain_end, limit_in(scan, true));
        } else if (scan->extent->sequence > scan->chain_extent &&
                   scan->extent->sequence >= scan->segment->manifest.replay.sequence) {
            look_ahead(scan, AURI_EXTENT_HEADER_BYTES, limit_in(scan, false));
        }
    }
}

static void report_hole(log_scan *scan) {
    aur_segment *segment = scan->segment;
    char name[AURI_NAME_BYTES];
    aur_error error;
    aur_error_clear(&error);
    auri_segment_extent_name(scan->chain_extent, name);
    (void)aur_fail(&error, AUR_ERR_CORRUPT,
                   "the hot log breaks off after LSN %llu, although it held later frames",
                   (unsigned long long)segment->scl);
    aur_error_locate(&error, (int32_t)segment->identity.group, (int32_t)segment->identity.copy,
                     name, scan->chain_end, segment->scl);
    auri_segment_note_damage(segment, &error);
}

/* Removes extents that were being made when the process was killed: they hold nothing, and their
 * missing header is no damage. One that cannot be removed now is left for the next opening. */
static void discard_unborn(const log_scan *scan) {
    auri_log *log = &scan->segment->log;
    for (uint32_t at = log->count; at > 0; at--) {
        auri_extent *extent = log->extents[at - 1];
        if (extent->unborn && extent->sequence > scan->dirty) {
            char name[AURI_NAME_BYTES];
            auri_segment_extent_name(extent->sequence, name);
            auri_segment_log_take_out(log, extent);
            auri_segment_extent_release(extent);
            const aur_status removed = aur_disk_remove(scan->segment->disk, name, NULL);
            (void)removed;
        }
    }
}

/* Opens an extent for frames. One that cannot be is damage, or cannot be now: frames go on behind
 * it. */
static bool arm(const log_scan *scan, auri_extent *extent) {
    aur_segment *segment = scan->segment;
    aur_error error;
    aur_error_clear(&error);
    const aur_status status = auri_segment_extent_arm(segment->disk, extent, &error);
    if (status != AUR_OK && status != AUR_ERR_MEMORY) {
        auri_segment_note_damage(segment, &error);
    }
    return status == AUR_OK;
}

/* Appends go on right behind the chain when nothing but zeros or stale frames is there; else in an
 * extent that holds nothing. */
static void set_tail(log_scan *scan) {
    auri_log *log = &scan->segment->log;
    log->active = NULL;
    log->floor = scan->dirty > scan->chain_extent ? scan->dirty : scan->chain_extent;
    for (uint32_t at = 0; at < log->count; at++) {
        auri_extent *extent = log->extents[at];
        const bool goes_on = extent->sequence == scan->chain_extent &&
                             extent->sequence >= scan->dirty && !scan->chain_broken &&
                             extent->header_good && scan->chain_end <= extent->size_bytes;
        if (goes_on && arm(scan, extent)) {
            extent->used_bytes = scan->chain_end;
            log->active = extent;
        } else if (extent->sequence > log->floor && !arm(scan, extent)) {
            log->floor = extent->sequence;
        }
    }
    if (log->floor >= log->next_sequence) {
        log->next_sequence = log->floor + 1;
    }
}

aur_status auri_segment_log_scan(aur_segment *segment, aur_error *error) {
    const auri_log *log = &segment->log;
    const auri_log_position replay = segment->manifest.replay;
    log_scan scan = {.segment = segment, .dirty = replay.sequence - 1};
    aur_status status = AUR_OK;
    aur_error_clear(&scan.error);
    scan.window = aligned_alloc(AUR_FRAME_ALIGN, WINDOW_BYTES);
    if (scan.window == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for reading the hot log");
    }
    segment->scl = segment->manifest.flushed_lsn;
    for (uint32_t at = 0; at < log->count && status == AUR_OK; at++) {
        begin_extent(&scan, log->extents[at]);
        if (scan.extent->sequence >= replay.sequence) {
            const bool first = scan.extent->sequence == replay.sequence;
            const uint64_t from =
                first && replay.offset > 0 ? replay.offset : AURI_EXTENT_HEADER_BYTES;
            if (first) {
                announce(&scan, from);
            }
            status = scan_extent(&scan, from);
        }
    }
    if (status == AUR_OK) {
        look_ahead_everywhere(&scan);
        if (scan.beyond_vdl > segment->scl || segment->manifest.proven_scl > segment->scl) {
            report_hole(&scan);
        }
        discard_unborn(&scan);
        set_tail(&scan);
        segment->chain_lsn = segment->scl;
    } else {
        status = aur_fail(error, status, "no memory for the hot log's index");
    }
    free(scan.window);
    return status;
}
