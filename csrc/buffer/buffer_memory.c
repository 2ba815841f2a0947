/*
 * Page memory in slabs that are mapped once and stay mapped; what goes back to the system is the
 * memory of single slots, so that the process shrinks with the budget however slots are mixed.
 * Free lists run through the versions, never through page memory, which must not be touched.
 *
 * Where the system's pages are larger than ours, a slot alone cannot be given back and memory only
 * stops growing.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/large_memory.h"
#include "buffer/buffer_private.h"

/* Up to four bucket pointers for each page, since the table doubles when it is half full; and up to
 * four hints. With huge pages the versions of a slab fill one. */
enum {
    TABLE_BYTES_PER_VERSION = 4 * sizeof(void *) + 4 * sizeof(auri_hint),
    SLAB_SLOTS = 512,
    SLAB_SLOTS_HUGE = 16384,
    SLOTS_AT_ONCE = 16,
};

/* From this budget on some MiB more or less do not matter. */
#define HUGE_BUDGET_BYTES (UINT64_C(64) << 20)

typedef struct auri_slab {
    struct auri_slab *next;
    uint8_t *pages;        /* and, in the same mapping, the versions behind them */
    aur_version *versions; /* a slot each */
    uint32_t slots;
    uint32_t slots_used; /* slots below it have been in use at some time */
} auri_slab;

uint64_t auri_memory_slot_cost(const auri_memory *memory) {
    return memory->page_bytes + sizeof(aur_version) + TABLE_BYTES_PER_VERSION;
}

bool auri_memory_is_huge(const auri_memory *memory) {
    return memory->budget_bytes >= HUGE_BUDGET_BYTES;
}

static uint64_t slots_within(const auri_memory *memory, uint64_t budget_bytes) {
    const uint64_t slots = budget_bytes / auri_memory_slot_cost(memory);
    return slots > 0 ? slots : 1;
}

aur_status auri_memory_open(auri_memory *memory, uint32_t page_bytes, uint64_t budget_bytes) {
    memory->page_bytes = page_bytes;
    memory->budget_bytes = budget_bytes;
    memory->slots_max = slots_within(memory, budget_bytes);
    memory->resident = 0;
    atomic_init(&memory->is_over, false);
    memory->in_use = 0;
    memory->warm = NULL;
    memory->cold = NULL;
    memory->slabs = NULL;
    return pthread_mutex_init(&memory->lock, NULL) == 0 ? AUR_OK : AUR_ERR_MEMORY;
}

static size_t slab_bytes(uint32_t page_bytes, uint32_t slots) {
    return (page_bytes + sizeof(aur_version)) * (size_t)slots;
}

void auri_memory_close(auri_memory *memory) {
    while (memory->slabs != NULL) {
        auri_slab *slab = memory->slabs;
        memory->slabs = slab->next;
        aur_large_unmap(slab->pages, slab_bytes(memory->page_bytes, slab->slots));
        free(slab);
    }
    (void)pthread_mutex_destroy(&memory->lock);
}

/* Slots of a new slab. Where the system counts what is mapped, a slab for more than the budget
 * would be refused for no reason. */
static uint32_t slots_of_slab(const auri_memory *memory) {
    if (!auri_memory_is_huge(memory)) {
        return SLAB_SLOTS;
    }
    const uint64_t slots =
        memory->slots_max < SLAB_SLOTS_HUGE ? memory->slots_max : SLAB_SLOTS_HUGE;
    return (uint32_t)(slots + SLAB_SLOTS - 1) / SLAB_SLOTS * SLAB_SLOTS;
}

static auri_slab *slab_create(const auri_memory *memory) {
    auri_slab *slab = malloc(sizeof *slab);
    if (slab == NULL) {
        return NULL;
    }
    slab->slots = slots_of_slab(memory);
    slab->slots_used = 0;
    slab->pages =
        aur_large_map(slab_bytes(memory->page_bytes, slab->slots), auri_memory_is_huge(memory));
    if (slab->pages == NULL) {
        free(slab);
        return NULL;
    }
    slab->versions =
        (aur_version *)(void *)(slab->pages + (size_t)memory->page_bytes * slab->slots);
    return slab;
}

/* Asks for the memory of the next slots in one go: they are used soon, and a fault for each page
 * costs a bulk load more than what it writes there. No promise, so failure does not matter. */
static void bring_in(const auri_slab *slab, uint32_t page_bytes) {
#ifdef MADV_POPULATE_WRITE
    (void)madvise(slab->pages + (size_t)slab->slots_used * page_bytes,
                  (size_t)page_bytes * SLOTS_AT_ONCE, MADV_POPULATE_WRITE);
#else
    (void)slab;
    (void)page_bytes;
#endif
}

/* A slot that was never used, from the newest slab or a new one. Lock held. */
static aur_version *fresh_slot(auri_memory *memory) {
    auri_slab *slab = memory->slabs;
    if (slab == NULL || slab->slots_used == slab->slots) {
        slab = slab_create(memory);
        if (slab == NULL) {
            return NULL;
        }
        slab->next = memory->slabs;
        memory->slabs = slab;
    }
    if (slab->slots_used % SLOTS_AT_ONCE == 0) {
        bring_in(slab, memory->page_bytes);
    }
    aur_version *version = &slab->versions[slab->slots_used];
    version->page = slab->pages + (size_t)slab->slots_used * memory->page_bytes;
    slab->slots_used++;
    return version;
}

static aur_version *pop_free(aur_version **list) {
    aur_version *version = *list;
    if (version != NULL) {
        *list = version->older;
    }
    return version;
}

static void push_free(aur_version **list, aur_version *version) {
    version->older = *list;
    *list = version;
}

/* After a change of what is resident or may be. Lock held. */
static void compare_with_budget(auri_memory *memory) {
    atomic_store_explicit(&memory->is_over, memory->resident > memory->slots_max,
                          memory_order_relaxed);
}

aur_version *auri_memory_take(auri_memory *memory, bool overshoot) {
    (void)pthread_mutex_lock(&memory->lock);
    aur_version *version = pop_free(&memory->warm);
    if (version == NULL && (overshoot || memory->resident < memory->slots_max)) {
        version = pop_free(&memory->cold);
        if (version == NULL) {
            version = fresh_slot(memory);
        }
        memory->resident += version != NULL;
        compare_with_budget(memory);
    }
    memory->in_use += version != NULL;
    (void)pthread_mutex_unlock(&memory->lock);
    return version;
}

/* Moves a free slot to the cold list. Lock held: another thread must not take the slot while its
 * memory goes away. */
static void make_cold(auri_memory *memory, aur_version *version) {
    (void)madvise(version->page, memory->page_bytes, MADV_DONTNEED);
    memory->resident--;
    compare_with_budget(memory);
    push_free(&memory->cold, version);
}

void auri_memory_give(auri_memory *memory, aur_version *version) {
    (void)pthread_mutex_lock(&memory->lock);
    AUR_ASSERT(memory->in_use > 0);
    memory->in_use--;
    if (memory->resident > memory->slots_max) {
        make_cold(memory, version);
    } else {
        push_free(&memory->warm, version);
    }
    (void)pthread_mutex_unlock(&memory->lock);
}

void auri_memory_set_budget(auri_memory *memory, uint64_t budget_bytes) {
    (void)pthread_mutex_lock(&memory->lock);
    memory->budget_bytes = budget_bytes;
    memory->slots_max = slots_within(memory, budget_bytes);
    compare_with_budget(memory);
    while (memory->resident > memory->slots_max && memory->warm != NULL) {
        make_cold(memory, pop_free(&memory->warm));
    }
    (void)pthread_mutex_unlock(&memory->lock);
}

bool auri_memory_is_over(const auri_memory *memory) {
    return atomic_load_explicit(&memory->is_over, memory_order_relaxed);
}
