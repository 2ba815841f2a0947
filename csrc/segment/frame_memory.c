/* Where frames get their bytes from. */
#include "segment/frame_memory.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "format/frame.h"

/* Large buffers are mapped one by one, because in the heap they would leave holes that the process
 * never gives back; and all of their pages at once, because they will be filled, and a fault for
 * each page takes longer than the filling. */
enum {
    MAPPED_BYTES_MIN = 64 << 10,
    SPARES_MAX = 16,
    SPARE_BYTES_MAX = 8 << 20, /* about what a burst has in memory before it is in layers */
#ifdef MAP_POPULATE
    MAP_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
#else
    MAP_FLAGS = MAP_PRIVATE | MAP_ANONYMOUS,
#endif
};

/* Mapped buffers that nobody uses, the newest last: mapping one anew takes the kernel longer than
 * it takes us to fill it. Of the process, as frames are. `lock` is taken last. */
static struct {
    pthread_mutex_t lock;
    size_t count;
    size_t total_bytes;
    uint8_t *bytes[SPARES_MAX];
    uint32_t capacity[SPARES_MAX];
} spares = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Locked. */
static uint8_t *remove_spare(size_t at) {
    uint8_t *bytes = spares.bytes[at];
    spares.total_bytes -= spares.capacity[at];
    for (spares.count--; at < spares.count; at++) {
        spares.bytes[at] = spares.bytes[at + 1];
        spares.capacity[at] = spares.capacity[at + 1];
    }
    return bytes;
}

/* The newest that is at most twice as large as it has to be; NULL: there is none. */
static uint8_t *take_spare(uint32_t *capacity) {
    uint8_t *bytes = NULL;
    (void)pthread_mutex_lock(&spares.lock);
    for (size_t at = spares.count; at-- > 0 && bytes == NULL;) {
        const uint32_t found = spares.capacity[at];
        if (found >= *capacity && found / 2 <= *capacity) {
            *capacity = found;
            bytes = remove_spare(at);
        }
    }
    (void)pthread_mutex_unlock(&spares.lock);
    return bytes;
}

/* Locked. */
static void unmap_spare(size_t at) {
    const uint32_t capacity = spares.capacity[at];
    AUR_ASSERT(munmap(remove_spare(at), capacity) == 0);
}

/* The oldest go first: they are of sizes that are not asked for any more. */
static void keep_spare(uint8_t *bytes, uint32_t capacity) {
    (void)pthread_mutex_lock(&spares.lock);
    while (spares.count == SPARES_MAX ||
           (spares.count > 0 && spares.total_bytes + capacity > SPARE_BYTES_MAX)) {
        unmap_spare(0);
    }
    spares.bytes[spares.count] = bytes;
    spares.capacity[spares.count] = capacity;
    spares.count++;
    spares.total_bytes += capacity;
    (void)pthread_mutex_unlock(&spares.lock);
}

void aur_frame_memory_release_spares(void) {
    (void)pthread_mutex_lock(&spares.lock);
    while (spares.count > 0) {
        unmap_spare(spares.count - 1);
    }
    (void)pthread_mutex_unlock(&spares.lock);
}

uint8_t *aur_frame_memory_take(uint32_t *capacity) {
    if (*capacity < MAPPED_BYTES_MIN) {
        return aligned_alloc(AUR_FRAME_ALIGN, *capacity);
    }
    uint8_t *spare = take_spare(capacity);
    if (spare != NULL) {
        return spare;
    }
    void *bytes = mmap(NULL, *capacity, PROT_READ | PROT_WRITE, MAP_FLAGS, -1, 0);
    return bytes == MAP_FAILED ? NULL : bytes;
}

void aur_frame_memory_give(uint8_t *bytes, uint32_t capacity) {
    if (capacity < MAPPED_BYTES_MIN) {
        free(bytes);
    } else {
        keep_spare(bytes, capacity);
    }
}
