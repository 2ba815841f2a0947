/* Frames in memory: aligned buffers counted by reference. */
#include "segment/frame_buffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "segment/frame_memory.h"

enum { FINDABLE_LISTS = 256 };

/* Frames that aur_frame_of made. Of the process and not of a volume, because segments are opened
 * before there is anything that they have in common. `lock` guards the lists and is taken last. */
static struct {
    pthread_mutex_t lock;
    aur_frame *heads[FINDABLE_LISTS]; /* by the last LSN */
} findable = {.lock = PTHREAD_MUTEX_INITIALIZER};

aur_frame *aur_frame_create(uint32_t capacity) {
    const size_t rounded = aur_frame_padded(capacity);
    if (rounded == 0 || rounded > AUR_FRAME_BYTES_MAX) {
        return NULL;
    }
    aur_frame *frame = calloc(1, sizeof *frame);
    if (frame == NULL) {
        return NULL;
    }
    frame->capacity = (uint32_t)rounded;
    frame->bytes = aur_frame_memory_take(&frame->capacity);
    if (frame->bytes == NULL) {
        free(frame);
        return NULL;
    }
    atomic_init(&frame->references, 1);
    atomic_init(&frame->records_checked, 0);
    return frame;
}

static aur_frame *create_copy(const uint8_t *bytes, const aur_frame_header *header) {
    aur_frame *frame = aur_frame_create(header->length);
    if (frame != NULL) {
        memcpy(frame->bytes, bytes, header->length);
        memset(frame->bytes + header->length, 0, frame->capacity - header->length);
        frame->header = *header;
    }
    return frame;
}

static aur_frame **place_of(const aur_frame_header *header) {
    return &findable.heads[header->last_lsn % FINDABLE_LISTS];
}

/* One that looks the same, with a reference: a frame in a list has at least one already. */
static aur_frame *find(const aur_frame_header *header) {
    (void)pthread_mutex_lock(&findable.lock);
    aur_frame *frame = *place_of(header);
    while (frame != NULL &&
           (frame->header.last_lsn != header->last_lsn || frame->header.length != header->length)) {
        frame = frame->next_findable;
    }
    if (frame != NULL) {
        (void)aur_frame_acquire(frame);
    }
    (void)pthread_mutex_unlock(&findable.lock);
    return frame;
}

static void make_findable(aur_frame *frame) {
    aur_frame **place = place_of(&frame->header);
    frame->is_findable = true;
    (void)pthread_mutex_lock(&findable.lock);
    frame->next_findable = *place;
    *place = frame;
    (void)pthread_mutex_unlock(&findable.lock);
}

aur_frame *aur_frame_of(const uint8_t *bytes, const aur_frame_header *header) {
    aur_frame *frame = find(header);
    if (frame != NULL && memcmp(frame->bytes, bytes, header->length) == 0) {
        return frame;
    }
    aur_frame_release(frame);
    frame = create_copy(bytes, header);
    if (frame != NULL) {
        make_findable(frame);
    }
    return frame;
}

aur_status aur_frame_create_from(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                                 aur_frame **frame_out) {
    *frame_out = NULL;
    aur_frame_header header;
    aur_status status = aur_frame_decode(bytes, length, volume_seed, &header);
    if (status != AUR_OK) {
        return status;
    }
    if (header.length > length) {
        return AUR_ERR_CORRUPT;
    }
    status = aur_frame_check_payload(bytes, &header, volume_seed);
    if (status == AUR_OK) {
        *frame_out = aur_frame_of(bytes, &header);
        status = *frame_out != NULL ? AUR_OK : AUR_ERR_MEMORY;
    }
    return status;
}

aur_frame *aur_frame_acquire(aur_frame *frame) {
    /* Relaxed: whoever acquires holds a reference already, so the frame cannot be going away. */
    const unsigned before = atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
    AUR_ASSERT(before > 0);
    return frame;
}

static bool drop_reference(aur_frame *frame) {
    const unsigned before = atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel);
    AUR_ASSERT(before > 0);
    return before == 1;
}

/* Under the lock, so that nobody finds a frame whose last reference goes. */
static bool drop_findable(aur_frame *frame) {
    (void)pthread_mutex_lock(&findable.lock);
    const bool was_last = drop_reference(frame);
    if (was_last) {
        aur_frame **link = place_of(&frame->header);
        while (*link != frame) {
            link = &(*link)->next_findable;
        }
        *link = frame->next_findable;
    }
    (void)pthread_mutex_unlock(&findable.lock);
    return was_last;
}

void aur_frame_release(aur_frame *frame) {
    if (frame == NULL) {
        return;
    }
    if (frame->is_findable ? drop_findable(frame) : drop_reference(frame)) {
        aur_frame_memory_give(frame->bytes, frame->capacity);
        free(frame);
    }
}
