/*
 * Bytes of frames: small ones in the heap; large ones mapped, and kept for a while when they come
 * back, since with every boxcar in a burst one comes and one goes.
 *
 * Thread rule: any thread. A lock is taken inside.
 */
#ifndef AUR_SEGMENT_FRAME_MEMORY_H
#define AUR_SEGMENT_FRAME_MEMORY_H

#include <stdint.h>

/* AUR_FRAME_ALIGN-aligned, of *capacity bytes, a multiple of that, which may become up to twice as
 * many. What is in them is unspecified. NULL: out of memory. */
uint8_t *aur_frame_memory_take(uint32_t *capacity);
void aur_frame_memory_give(uint8_t *bytes, uint32_t capacity);

/* Gives the system back what is kept. */
void aur_frame_memory_release_spares(void);

#endif
