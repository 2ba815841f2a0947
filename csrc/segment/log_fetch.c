/*
 * Frames that are in layers already, for copies that catch up: a few flushed extents are kept, and
 * a frame is read back out of them. What an open does not scan is not offered: it may be anything.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

void auri_segment_extent_note(auri_extent *extent, uint64_t offset,
                              const aur_frame_header *header) {
    if (extent->link_offset == 0) {
        extent->link_lsn = header->prev_lsn;
        extent->link_offset = offset;
        extent->hint_lsn = header->prev_lsn;
        extent->hint_offset = offset;
    }
    extent->last_lsn = header->last_lsn;
}

/* Extents are used in the order of their numbers, so those before the replay position that are
 * readable make one run, up to the frames in memory. */
aur_lsn auri_segment_log_start(const aur_segment *segment) {
    const auri_log *log = &segment->log;
    aur_lsn start = segment->manifest.flushed_lsn;
    for (uint32_t at = log->count; at > 0; at--) {
        const auri_extent *extent = log->extents[at - 1];
        if (extent->sequence > log->floor) {
            continue;
        }
        if (extent->link_offset == 0) {
            break;
        }
        start = extent->link_lsn < start ? extent->link_lsn : start;
    }
    return start;
}

/* The extent that should hold the frame behind `after_lsn`, and from where to look. Holds `lock`.
 */
static auri_extent *find_extent(const aur_segment *segment, aur_lsn after_lsn,
                                uint64_t *offset_out) {
    const auri_log *log = &segment->log;
    for (uint32_t at = 0; at < log->count; at++) {
        auri_extent *extent = log->extents[at];
        if (extent->link_offset != 0 && extent->link_lsn <= after_lsn &&
            after_lsn < extent->last_lsn) {
            *offset_out = extent->hint_lsn <= after_lsn ? extent->hint_offset : extent->link_offset;
            return auri_segment_extent_acquire(extent);
        }
    }
    return NULL;
}

/* Reads whole the frame whose header was found. AUR_NOT_FOUND when it does not verify: the extent
 * was recycled meanwhile, or it is damaged; either way it is not to be had here. */
static aur_status read_whole(const aur_segment *segment, const auri_extent *extent, uint64_t offset,
                             const aur_frame_header *header, aur_frame **frame_out,
                             aur_error *error) {
    const size_t padded = aur_frame_padded(header->length);
    size_t length = 0;
    uint8_t *bytes = aligned_alloc(AUR_FRAME_ALIGN, padded);
    if (bytes == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a frame");
    }
    aur_status status = aur_file_read(extent->file, offset, bytes, padded, &length, error);
    if (status == AUR_OK) {
        status = aur_frame_create_from(bytes, length, segment->volume_seed, frame_out);
        status = status == AUR_OK || status == AUR_ERR_MEMORY ? status : AUR_NOT_FOUND;
    }
    free(bytes);
    return status;
}

/* Steps from frame to frame until the one that links to `after_lsn`. AUR_NOT_FOUND at anything
 * else. */
static aur_status search(const aur_segment *segment, const auri_extent *extent, aur_lsn after_lsn,
                         const auri_view *view, uint64_t *offset, aur_frame **frame_out,
                         aur_error *error) {
    for (;;) {
        uint8_t head[AUR_FRAME_BODY_AT];
        aur_frame_header header;
        size_t length = 0;
        const aur_status status =
            aur_file_read(extent->file, *offset, head, sizeof head, &length, error);
        if (status != AUR_OK) {
            return status;
        }
        if (aur_frame_decode(head, length, segment->volume_seed, &header) != AUR_OK) {
            return AUR_NOT_FOUND;
        }
        if (header.prev_lsn == after_lsn &&
            !aur_history_truncated(view->rewinds, view->rewind_count, header.last_lsn,
                                   header.epoch)) {
            return read_whole(segment, extent, *offset, &header, frame_out, error);
        }
        *offset += aur_frame_padded(header.length);
    }
}

aur_status auri_segment_log_fetch(aur_segment *segment, aur_lsn after_lsn, aur_frame **frame_out,
                                  aur_error *error) {
    uint64_t offset;
    pthread_mutex_lock(&segment->lock);
    auri_extent *extent = find_extent(segment, after_lsn, &offset);
    auri_view *view = auri_segment_view_acquire(segment->view);
    pthread_mutex_unlock(&segment->lock);
    aur_status status = AUR_GAP;
    if (extent != NULL) {
        status = search(segment, extent, after_lsn, view, &offset, frame_out, error);
        pthread_mutex_lock(&segment->lock);
        if (status == AUR_OK) {
            extent->hint_lsn = (*frame_out)->header.prev_lsn;
            extent->hint_offset = offset;
        }
        pthread_mutex_unlock(&segment->lock);
        status = status == AUR_NOT_FOUND ? AUR_GAP : status;
    }
    auri_segment_view_release(view);
    auri_segment_extent_release(extent);
    return status;
}
