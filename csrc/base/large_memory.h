/*
 * Memory of caches: much of it, all of it filled sooner or later, and touched in no order.
 *
 * In the system's ordinary pages such memory costs a fault for each of them when it is filled, and
 * then a walk through the page tables for almost every touch, which takes longer than the touch.
 * Where the system has huge pages to give, this asks for them.
 */
#ifndef AUR_BASE_LARGE_MEMORY_H
#define AUR_BASE_LARGE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory that takes room only where it is touched; NULL when the system has none.
 * `in_huge_pages`: it begins at one, and takes room by huge pages, so that the first touch may take
 * some MiB. */
void *aur_large_map(size_t bytes, bool in_huge_pages);
/* Gives it back. NULL is allowed. `bytes` as it was mapped. */
void aur_large_unmap(void *memory, size_t bytes);

#endif
