/*
 * A volume as simple as can be, to compare segments with: it writes random frames, applies every
 * record to pages of its own, and remembers what each page looked like after each record.
 */
#ifndef AURORA_TESTS_VOLUME_MODEL_H
#define AURORA_TESTS_VOLUME_MODEL_H

#include "disk/disk.h"
#include "segment/segment.h"

enum { MODEL_PAGES = 24, MODEL_PAGE_BYTES = 4096, MODEL_GROUP = 1, MODEL_GROUP_PAGES = 64 };

/* One version of a page: the checksum of what it holds, its free space left out, and, in a model
 * that goes back in time, the page. */
typedef struct model_version {
    aur_lsn lsn;
    uint64_t sum;
    uint8_t *bytes;
} model_version;

enum { MODEL_REWINDS_MAX = 256 };

typedef struct model_page {
    uint8_t bytes[MODEL_PAGE_BYTES];
    bool exists;
    model_version *versions; /* ascending by LSN */
    size_t count, capacity;
} model_page;

typedef struct volume_model {
    aur_segment_identity identity;
    uint64_t seed;
    aur_epoch epoch;
    aur_lsn next_lsn;
    aur_lsn prev_lsn; /* last LSN of the last frame */
    aur_lsn vdl;      /* told in the next frame */
    uint64_t time_us; /* of the newest frame; each is its own commit */
    aur_frame **frames;
    size_t frame_count, frame_capacity;
    bool keeps_bytes;                      /* for model_rewind */
    aur_rewind rewinds[MODEL_REWINDS_MAX]; /* backtracks */
    size_t rewind_count;
    model_page pages[MODEL_PAGES];
} volume_model;

volume_model *model_create(void);
void model_destroy(volume_model *model);

/* A frame of `records` random records, applied to the model; the model keeps it. */
aur_frame *model_write(volume_model *model, uint32_t records);

/* Forgets every frame above `to`, as a truncation does; the next frame gets LSNs above `at`. */
void model_truncate(volume_model *model, aur_lsn to, aur_lsn at);

/* Goes back to `to`: what came after it is seen only by reads up to the present LSN. Returns the
 * rewind that segments are to record. */
aur_rewind model_rewind(volume_model *model, aur_lsn to);

/* The version that a read sees; NULL: none. */
const model_version *model_seen(const volume_model *model, uint32_t page, aur_lsn read_point);

/* What the page holds, free space left out. */
uint64_t model_page_sum(const uint8_t *page);

/* Reads every page at `read_point` from the segment and compares. */
void model_check_all(const volume_model *model, aur_segment *segment, aur_lsn read_point);

/* One page; returns false when the segment says AUR_ERR_CORRUPT. Wrong data fails the test. */
bool model_check_page(const volume_model *model, aur_segment *segment, uint32_t page,
                      aur_lsn read_point);

/* Small extents and memtables, so that little data exercises everything. */
void model_options(aur_segment_options *options);

/* Creates and opens a segment on `disk`. */
aur_segment *model_segment(const volume_model *model, aur_disk *disk);

/* Appends all frames of the model that the segment does not have; tells it the VDL. */
void model_ship(const volume_model *model, aur_segment *segment);

/* Runs background work until there is none; returns the number of units. */
unsigned model_work(aur_segment *segment);
/* And all that can wait. */
void model_tidy(aur_segment *segment);

/* Damages a file: flips the bits of `mask` in one byte. */
void model_change_byte(aur_disk *disk, const char *name, uint64_t offset, uint8_t mask);

#endif
