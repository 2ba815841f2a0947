/* What trees and the page space put into cells and payloads. Normative text: docs/format/tree.md.
 */
#ifndef AUR_BTREE_LAYOUT_H
#define AUR_BTREE_LAYOUT_H

#include "format/page.h"

enum {
    AUR_LEAF_CELL_HEAD_AT = 0, /* u16 bytes of the key; AUR_LEAF_CELL_REFERENCE */
    AUR_LEAF_CELL_KEY_AT = 2,  /* key, then the value or a reference to it */
    AUR_LEAF_CELL_REFERENCE = 1 << 15,

    AUR_REFERENCE_LENGTH_AT = 0, /* u64 bytes of the value */
    AUR_REFERENCE_PAGE_AT = 8,   /* u64 first overflow page */
    AUR_REFERENCE_BYTES = 16,

    AUR_INNER_CELL_CHILD_AT = 0, /* u64 page of the child */
    AUR_INNER_CELL_KEY_AT = 8,   /* lowest key that the child may hold */
    AUR_INNER_CELL_BYTES_MAX = AUR_INNER_CELL_KEY_AT + AUR_KEY_BYTES_MAX,

    /* Payload of the meta page. */
    AUR_META_MAGIC_AT = 0,       /* 8 bytes "AURMETA" and a zero */
    AUR_META_FORMAT_AT = 8,      /* u32 version of everything in this header */
    AUR_META_PAGE_BYTES_AT = 12, /* u32 */
    AUR_META_BITMAPS_AT = 16,    /* u64 number of bitmap pages */
    AUR_META_BYTES = 24,
    AUR_META_FORMAT = 1,
};

_Static_assert(AUR_REFERENCE_BYTES == AUR_REFERENCE_PAGE_AT + 8, "reference");
_Static_assert(AUR_META_BYTES == AUR_META_BITMAPS_AT + 8, "meta page");
_Static_assert((unsigned)AUR_KEY_BYTES_MAX < (unsigned)AUR_LEAF_CELL_REFERENCE,
               "key length and flag share the head");

#endif
