/* The field's words as types. All are plain integers on disk, little-endian. */
#ifndef AUR_FORMAT_TYPES_H
#define AUR_FORMAT_TYPES_H

#include <stdint.h>

typedef uint64_t
    aur_lsn; /* one space per volume, allocated by the single writer; 0 means "before everything" */
typedef uint64_t aur_page_id; /* position of a page in the volume */
typedef uint64_t aur_epoch; /* volume epoch: grows with every recovery, fences older writers (I4) */

#define AUR_LSN_MAX UINT64_MAX

/* LSN allocation limit: no LSN is allocated above max(VCL, the newest rewind's `at`) + this. It is
 * back-pressure, and the width of the truncation range that recovery writes (Aurora, SIGMOD 2017,
 * 4.2.1 and 4.3; VCL instead of VDL, which cannot move inside one big mini-transaction). */
#define AUR_LSN_ALLOCATION_LIMIT 10000000u

enum {
    AUR_PAGE_BYTES_MIN = 4096,
    AUR_PAGE_BYTES_MAX = 65536,
    AUR_KEY_BYTES_MAX = 1024,
    AUR_VOLUME_ID_BYTES = 16,
};

#endif
