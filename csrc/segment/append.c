/*
 * Frames in. begin validates, links and reserves a place; the caller writes; end indexes and moves
 * SCL. A frame is checked against the promised epoch at both ends, so that one that was in flight
 * when a newer writer took over is never acknowledged (I4).
 */
#include <stdlib.h>

#include "base/planted.h"
#include "segment/segment_private.h"

static aur_status fenced(const aur_segment *segment, aur_epoch epoch, aur_error *error) {
    return aur_fail(error, AUR_ERR_FENCED,
                    "epoch %llu is fenced: segment %u of group %u promised %llu",
                    (unsigned long long)epoch, segment->identity.copy, segment->identity.group,
                    (unsigned long long)segment->manifest.epoch);
}

static bool epoch_passes(const aur_segment *segment, aur_epoch epoch) {
    return epoch >= segment->manifest.epoch ||
           AUR_PLANTED(segment->options.planted_bugs, AUR_BUG_NO_EPOCH_CHECK);
}

/* Whether the frame may come next. AUR_NOT_FOUND: it is here already. Holds `lock`. */
static aur_status admit(const aur_segment *segment, const aur_frame *frame, aur_epoch epoch,
                        aur_error *error) {
    const aur_frame_header *header = &frame->header;
    if (!epoch_passes(segment, epoch)) {
        return fenced(segment, epoch, error);
    }
    if (header->group != segment->identity.group) {
        return aur_fail(error, AUR_ERR_CORRUPT, "a frame of group %u came to group %u",
                        header->group, segment->identity.group);
    }
    if (aur_history_truncated(segment->manifest.rewinds, segment->manifest.rewind_count,
                              header->last_lsn, header->epoch) &&
        !AUR_PLANTED(segment->options.planted_bugs, AUR_BUG_NO_EPOCH_CHECK)) {
        return fenced(segment, header->epoch, error);
    }
    if (header->last_lsn <= segment->scl) {
        return AUR_NOT_FOUND;
    }
    if (header->last_lsn <= segment->chain_lsn) {
        return AUR_WOULD_BLOCK;
    }
    if (header->prev_lsn > segment->chain_lsn) {
        return AUR_GAP;
    }
    if (header->prev_lsn < segment->chain_lsn) {
        return aur_fail(
            error, AUR_ERR_CORRUPT, "frame %llu..%llu links to LSN %llu, the log ends at %llu",
            (unsigned long long)header->first_lsn, (unsigned long long)header->last_lsn,
            (unsigned long long)header->prev_lsn, (unsigned long long)segment->chain_lsn);
    }
    return AUR_OK;
}

static aur_status reserve_pending(aur_segment *segment) {
    if (segment->pending_count < segment->pending_capacity) {
        return AUR_OK;
    }
    const uint32_t capacity = segment->pending_capacity == 0 ? 16 : segment->pending_capacity * 2;
    auri_slot *grown = realloc(segment->pending, capacity * sizeof *grown);
    if (grown == NULL) {
        return AUR_ERR_MEMORY;
    }
    segment->pending = grown;
    segment->pending_capacity = capacity;
    return AUR_OK;
}

/* Reserves the place. AUR_NOT_FOUND from the log (no extent has room) becomes AUR_WOULD_BLOCK, as
 * AUR_NOT_FOUND means something else to the caller. Holds `lock`. */
static aur_status place(aur_segment *segment, aur_frame *frame, aur_ring_write *write) {
    const size_t padded = aur_frame_padded(frame->header.length);
    auri_extent *extent;
    uint64_t offset;
    if (reserve_pending(segment) != AUR_OK) {
        return AUR_ERR_MEMORY;
    }
    if (auri_segment_log_place(&segment->log, padded, &extent, &offset) != AUR_OK) {
        return AUR_WOULD_BLOCK;
    }
    auri_segment_extent_note(extent, offset, &frame->header);
    segment->pending[segment->pending_count++] = (auri_slot){
        .frame = aur_frame_acquire(frame),
        .position = {.sequence = extent->sequence, .offset = offset},
    };
    segment->chain_lsn = frame->header.last_lsn;
    write->file = extent->file;
    write->offset = offset;
    write->buffer = frame->bytes;
    write->length = padded;
    return AUR_OK;
}

/* Without `may_grow` AUR_WOULD_BLOCK also when the log has no room for the frame. */
static aur_status begin(aur_segment *segment, aur_frame *frame, aur_epoch epoch, bool may_grow,
                        aur_ring_write *write, aur_error *error) {
    if (auri_segment_check_records(frame, &segment->identity) != AUR_OK) {
        return aur_fail(error, AUR_ERR_CORRUPT, "frame %llu..%llu holds records that do not decode",
                        (unsigned long long)frame->header.first_lsn,
                        (unsigned long long)frame->header.last_lsn);
    }
    aur_status status = auri_segment_writable(segment, error);
    while (status == AUR_OK) {
        pthread_mutex_lock(&segment->lock);
        status = admit(segment, frame, epoch, error);
        const bool admitted = status == AUR_OK;
        if (admitted) {
            status = place(segment, frame, write);
        }
        pthread_mutex_unlock(&segment->lock);
        if (!admitted || status != AUR_WOULD_BLOCK || !may_grow) {
            break;
        }
        aur_error failure;
        aur_error_clear(&failure);
        status = auri_segment_log_grow(segment, aur_frame_padded(frame->header.length), &failure);
        if (status != AUR_OK && status != AUR_ERR_MEMORY) {
            auri_segment_note_failure(segment, &failure);
        }
        if (status != AUR_OK && error != NULL) {
            *error = failure;
        }
    }
    return status;
}

/* Takes the oldest begun frame off the list. Holds `lock`. */
static auri_slot pop_pending(aur_segment *segment) {
    const auri_slot slot = segment->pending[0];
    segment->pending_count--;
    memmove(segment->pending, segment->pending + 1,
            segment->pending_count * sizeof *segment->pending);
    return slot;
}

/* The write is durable: index the frame and move SCL, unless a newer epoch was promised meanwhile.
 */
static aur_status commit(aur_segment *segment, const auri_slot *slot, aur_epoch epoch,
                         aur_error *error) {
    const aur_frame_header *header = &slot->frame->header;
    if (segment->health == AUR_SEGMENT_FAILED) {
        return aur_fail(error, AUR_ERR_IO, "an earlier write of the segment failed");
    }
    if (!epoch_passes(segment, epoch) || header->prev_lsn != segment->scl) {
        return fenced(segment, epoch, error);
    }
    const aur_status status =
        auri_segment_memtable_add(segment->active, slot->frame, slot->position);
    if (status != AUR_OK) {
        return aur_fail(error, status, "no memory for the index of the hot log");
    }
    segment->scl = header->last_lsn;
    if (header->vdl > segment->vdl) {
        segment->vdl = header->vdl;
    }
    return AUR_OK;
}

/* Whether the frame is on disk, in a file that an opening will find: somebody may have removed or
 * cut it behind our back. One system call a frame, next to a durable write. */
static aur_status check_written(const aur_ring_write *write, aur_error *error) {
    if (write->status == AUR_OK) {
        return aur_file_check(write->file, write->offset + write->length, error);
    }
    if (write->system_errno != 0) {
        return aur_fail_errno(error, write->system_errno, aur_file_name(write->file), "append");
    }
    return aur_fail(error, write->status, "the hot log could not be written");
}

static aur_status end(aur_segment *segment, const aur_frame *frame, const aur_ring_write *write,
                      aur_epoch epoch, aur_lsn *scl_out, aur_error *error) {
    aur_error failure;
    aur_error_clear(&failure);
    aur_status status = check_written(write, &failure);
    pthread_mutex_lock(&segment->lock);
    const bool first = segment->pending_count > 0 && segment->pending[0].frame == frame;
    if (!first) {
        pthread_mutex_unlock(&segment->lock);
        return aur_fail(error, AUR_ERR_INVALID, "appends end in the order in which they began");
    }
    const auri_slot slot = pop_pending(segment);
    if (status == AUR_OK) {
        status = commit(segment, &slot, epoch, &failure);
    }
    *scl_out = segment->scl;
    pthread_mutex_unlock(&segment->lock);
    if (status != AUR_OK && status != AUR_ERR_FENCED) {
        aur_error_locate(&failure, (int32_t)segment->identity.group,
                         (int32_t)segment->identity.copy, aur_file_name(write->file), write->offset,
                         frame->header.last_lsn);
        auri_segment_note_failure(segment, &failure);
    }
    if (status != AUR_OK && error != NULL) {
        *error = failure;
    }
    aur_frame_release(slot.frame);
    return status;
}

aur_status aur_segment_append_begin(aur_segment *segment, aur_frame *frame, aur_ring_write *write,
                                    aur_error *error) {
    return begin(segment, frame, frame->header.epoch, false, write, error);
}

aur_status aur_segment_append_end(aur_segment *segment, aur_frame *frame,
                                  const aur_ring_write *write, aur_lsn *scl_out, aur_error *error) {
    return end(segment, frame, write, frame->header.epoch, scl_out, error);
}

aur_status aur_segment_fill(aur_segment *segment, aur_frame *frame, aur_epoch epoch,
                            aur_lsn *scl_out, aur_error *error) {
    aur_ring_write write = {0};
    aur_error failure;
    aur_error_clear(&failure);
    aur_status status = begin(segment, frame, epoch, true, &write, error);
    if (status != AUR_OK) {
        pthread_mutex_lock(&segment->lock);
        *scl_out = segment->scl;
        pthread_mutex_unlock(&segment->lock);
        return status == AUR_NOT_FOUND ? AUR_OK : status;
    }
    write.status = aur_file_write(write.file, write.offset, write.buffer, write.length, &failure);
    write.system_errno = failure.system_errno;
    return end(segment, frame, &write, epoch, scl_out, error);
}

aur_status aur_segment_append(aur_segment *segment, aur_frame *frame, aur_lsn *scl_out,
                              aur_error *error) {
    return aur_segment_fill(segment, frame, frame->header.epoch, scl_out, error);
}
