/* Memory of caches. */
#include "base/large_memory.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/assert.h"

/* The usual size. Where it is another, alignment to this one does no harm. */
enum { HUGE_PAGE_BYTES = 2 << 20 };

static void *map(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void unmap(void *memory, size_t bytes) {
    if (bytes > 0) {
        AUR_ASSERT(munmap(memory, bytes) == 0);
    }
}

/* Maps more, and gives back what lies before and behind the aligned part. */
static void *map_aligned(size_t bytes) {
    uint8_t *memory = map(bytes + HUGE_PAGE_BYTES);
    if (memory == NULL) {
        return NULL;
    }
    const size_t before = (size_t)(-(uintptr_t)memory % HUGE_PAGE_BYTES);
    unmap(memory, before);
    unmap(memory + before + bytes, HUGE_PAGE_BYTES - before);
    return memory + before;
}

/* To whole pages of any system. */
static size_t rounded(size_t bytes) {
    const size_t granule = 64 << 10;
    return (bytes + granule - 1) / granule * granule;
}

void *aur_large_map(size_t bytes, bool in_huge_pages) {
    if (!in_huge_pages) {
        return map(rounded(bytes));
    }
    void *memory = map_aligned(rounded(bytes));
#ifdef MADV_HUGEPAGE
    if (memory != NULL) {
        /* No promise: without huge pages it is slower, and that is all. */
        (void)madvise(memory, rounded(bytes), MADV_HUGEPAGE);
    }
#endif
    return memory;
}

void aur_large_unmap(void *memory, size_t bytes) {
    if (memory != NULL) {
        unmap(memory, rounded(bytes));
    }
}
