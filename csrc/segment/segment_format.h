/*
 * Byte places of a segment's files. docs/format/segment.md is normative; tools/check_format.py
 * compares. Private to the layer: nobody above it reads these files.
 */
#ifndef AUR_SEGMENT_FORMAT_H
#define AUR_SEGMENT_FORMAT_H

enum { AUR_SEGMENT_FORMAT = 1 };

/* manifest */
enum {
    AUR_MANIFEST_MAGIC_AT = 0, /* 8 bytes "AURMANIF" */
    AUR_MANIFEST_VERSION_AT = 8,
    AUR_MANIFEST_LENGTH_AT = 12,
    AUR_MANIFEST_VOLUME_AT = 16,
    AUR_MANIFEST_GROUP_AT = 32,
    AUR_MANIFEST_COPY_AT = 36,
    AUR_MANIFEST_PAGE_BYTES_AT = 40,
    AUR_MANIFEST_COPIES_AT = 44,
    AUR_MANIFEST_GROUP_PAGES_AT = 48,
    AUR_MANIFEST_EDITION_AT = 56,
    AUR_MANIFEST_EPOCH_AT = 64,
    AUR_MANIFEST_BASE_AT = 72,
    AUR_MANIFEST_FLUSHED_AT = 80,
    AUR_MANIFEST_PROVEN_AT = 88,
    AUR_MANIFEST_VDL_AT = 96,
    AUR_MANIFEST_REPLAY_SEQUENCE_AT = 104,
    AUR_MANIFEST_REPLAY_OFFSET_AT = 112,
    AUR_MANIFEST_NEXT_LAYER_AT = 120,
    AUR_MANIFEST_REWINDS_AT = 128,
    AUR_MANIFEST_LAYERS_AT = 132,
    AUR_MANIFEST_BODY_AT = 136,
};

/* One rewind in the manifest. */
enum {
    AUR_REWOUND_FROM_AT = 0,
    AUR_REWOUND_TO_AT = 8,
    AUR_REWOUND_EPOCH_AT = 16,
    AUR_REWOUND_TIME_AT = 24,
    AUR_REWOUND_KIND_AT = 32,
    AUR_REWOUND_BYTES = 40,
};

/* One layer in the manifest. */
enum {
    AUR_LISTED_NUMBER_AT = 0,
    AUR_LISTED_SIZE_AT = 8,
    AUR_LISTED_RECORDS_AT = 16,
    AUR_LISTED_FIRST_LSN_AT = 24,
    AUR_LISTED_LAST_LSN_AT = 32,
    AUR_LISTED_FIRST_PAGE_AT = 40,
    AUR_LISTED_LAST_PAGE_AT = 48,
    AUR_LISTED_FOOTER_SUM_AT = 56,
    AUR_LISTED_TIER_AT = 64,
    AUR_LISTED_BYTES = 72,
};

/* Header of a hot log extent. */
enum {
    AUR_EXTENT_MAGIC_AT = 0, /* 8 bytes "AUREXTNT" */
    AUR_EXTENT_VERSION_AT = 8,
    AUR_EXTENT_GROUP_AT = 12,
    AUR_EXTENT_VOLUME_AT = 16,
    AUR_EXTENT_COPY_AT = 32,
    AUR_EXTENT_SEQUENCE_AT = 40,
    AUR_EXTENT_SIZE_AT = 48,
    AUR_EXTENT_STALE_AT = 56,
    AUR_EXTENT_SUM_AT = 64,
};

/* Header of a layer. */
enum {
    AUR_LAYER_MAGIC_AT = 0, /* 8 bytes "AURLAYER" */
    AUR_LAYER_VERSION_AT = 8,
    AUR_LAYER_GROUP_AT = 12,
    AUR_LAYER_VOLUME_AT = 16,
    AUR_LAYER_NUMBER_AT = 32,
    AUR_LAYER_PAGE_BYTES_AT = 40,
    AUR_LAYER_SUM_AT = 56,
    AUR_LAYER_BYTES = 64,
};

/* Footer of a layer, at its end. Root and bitmap are references: the last four fields of a pointer.
 */
enum {
    AUR_FOOTER_MAGIC_AT = 0, /* 8 bytes "AURLFOOT" */
    AUR_FOOTER_VERSION_AT = 8,
    AUR_FOOTER_TIER_AT = 12,
    AUR_FOOTER_NUMBER_AT = 16,
    AUR_FOOTER_RECORDS_AT = 24,
    AUR_FOOTER_FIRST_LSN_AT = 32,
    AUR_FOOTER_LAST_LSN_AT = 40,
    AUR_FOOTER_FIRST_PAGE_AT = 48,
    AUR_FOOTER_LAST_PAGE_AT = 56,
    AUR_FOOTER_ROOT_AT = 64,
    AUR_FOOTER_BITMAP_AT = 88,
    AUR_FOOTER_SUM_AT = 120,
    AUR_FOOTER_BYTES = 128,
};

/* An index entry: where a block is, and its checksum. */
enum {
    AUR_POINTER_FIRST_PAGE_AT = 0,
    AUR_POINTER_FIRST_LSN_AT = 8,
    AUR_POINTER_OFFSET_AT = 16,
    AUR_POINTER_STORED_AT = 24,
    AUR_POINTER_RAW_AT = 28,
    AUR_POINTER_SUM_AT = 32,
    AUR_POINTER_BYTES = 40,
};

#endif
