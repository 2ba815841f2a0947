/* Opening a directory: manifest, layers, hot log. Files that nothing refers to are noted. */
#include <stdlib.h>

#include "segment/segment_private.h"

typedef struct file_entry {
    char name[AURI_NAME_BYTES];
    uint64_t number;
    uint64_t size_bytes;
    bool is_log;
} file_entry;

typedef struct file_list {
    file_entry *entries;
    size_t count, capacity;
    bool out_of_memory;
} file_list;

static bool collect_file(void *context, const char *name, uint64_t size_bytes) {
    file_list *list = context;
    file_entry entry = {.size_bytes = size_bytes};
    entry.is_log = auri_segment_parse_name(name, "log-", &entry.number);
    if (!entry.is_log && !auri_segment_parse_name(name, "layer-", &entry.number)) {
        return true;
    }
    if (list->count == list->capacity) {
        const size_t capacity = list->capacity == 0 ? 32 : list->capacity * 2;
        file_entry *grown = realloc(list->entries, capacity * sizeof *grown);
        if (grown == NULL) {
            list->out_of_memory = true;
            return false;
        }
        list->entries = grown;
        list->capacity = capacity;
    }
    memcpy(entry.name, name, strlen(name) + 1);
    list->entries[list->count++] = entry;
    return true;
}

aur_status auri_segment_remove_files(aur_disk *disk, aur_error *error) {
    file_list list = {0};
    aur_status status = aur_disk_list(disk, collect_file, &list, error);
    if (status == AUR_OK && list.out_of_memory) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of files");
    }
    for (size_t at = 0; at < list.count && status == AUR_OK; at++) {
        status = aur_disk_remove(disk, list.entries[at].name, error);
    }
    free(list.entries);
    return status;
}

static bool is_known_layer(const auri_manifest *manifest, uint64_t number) {
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        if (manifest->layers[at].number == number) {
            return true;
        }
    }
    return false;
}

static aur_status check_expected(const auri_manifest *manifest,
                                 const aur_segment_identity *expected, const aur_disk *disk,
                                 aur_error *error) {
    const aur_segment_identity *found = &manifest->identity;
    if (expected == NULL ||
        (memcmp(found->volume_id, expected->volume_id, AUR_VOLUME_ID_BYTES) == 0 &&
         found->group == expected->group && found->copy == expected->copy &&
         found->page_bytes == expected->page_bytes && found->copies == expected->copies &&
         found->group_pages == expected->group_pages)) {
        return AUR_OK;
    }
    return aur_fail(error, AUR_ERR_CORRUPT,
                    "%s holds copy %u of group %u of %s volume, expected copy %u of group %u",
                    aur_disk_path(disk), found->copy, found->group,
                    memcmp(found->volume_id, expected->volume_id, AUR_VOLUME_ID_BYTES) == 0
                        ? "this"
                        : "another",
                    expected->copy, expected->group);
}

/* What was meant to be noted as damage is a reason not to open at all. */
static void tell(aur_error *error, const aur_error *why) {
    if (error != NULL) {
        *error = *why;
    }
}

static void note_extent_damage(aur_segment *segment, uint64_t sequence, aur_error *damage) {
    char name[AURI_NAME_BYTES];
    auri_segment_extent_name(sequence, name);
    aur_error_locate(damage, -1, -1, name, 0, UINT64_MAX);
    auri_segment_note_damage(segment, damage);
    if (sequence >= segment->log.next_sequence) {
        segment->log.next_sequence = sequence + 1;
    }
}

/* Opens one extent of the directory. One that cannot be opened is damage, and no reason not to
 * open. */
static aur_status open_extent(aur_segment *segment, const file_entry *entry, aur_error *error) {
    const uint64_t size = entry->size_bytes & ~(uint64_t)(AUR_FRAME_ALIGN - 1);
    auri_extent *extent = NULL;
    aur_error damage;
    aur_error_clear(&damage);
    if (size <= AURI_EXTENT_HEADER_BYTES) {
        return AUR_OK;
    }
    const aur_status status =
        auri_segment_extent_open(segment->disk, entry->number, size, &extent, &damage);
    if (status == AUR_ERR_MEMORY) {
        tell(error, &damage);
        return status;
    }
    if (status == AUR_OK && auri_segment_log_insert(&segment->log, extent) != AUR_OK) {
        auri_segment_extent_release(extent);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the hot log");
    }
    if (status != AUR_OK) {
        note_extent_damage(segment, entry->number, &damage);
        return AUR_OK;
    }
    const bool is_scanned = entry->number >= segment->manifest.replay.sequence;
    aur_file_will_read(extent->file, 0,
                       is_scanned ? AURI_SCAN_BYTES_FIRST : AURI_EXTENT_HEADER_BYTES);
    return AUR_OK;
}

/* Reads the headers once all of them are under way. An extent whose header cannot be read, or that
 * belongs to another segment, is damage. */
static void read_extent_headers(aur_segment *segment) {
    auri_log *log = &segment->log;
    for (uint32_t at = log->count; at > 0; at--) {
        auri_extent *extent = log->extents[at - 1];
        aur_error damage;
        aur_error_clear(&damage);
        if (auri_segment_extent_read_header(extent, &segment->identity, &damage) != AUR_OK) {
            auri_segment_log_take_out(log, extent);
            note_extent_damage(segment, extent->sequence, &damage);
            auri_segment_extent_release(extent);
        }
    }
}

static aur_status open_files(aur_segment *segment, aur_error *error) {
    file_list list = {0};
    aur_status status = aur_disk_list(segment->disk, collect_file, &list, error);
    segment->leftovers = calloc(list.count + 1, sizeof *segment->leftovers);
    if (status == AUR_OK && (list.out_of_memory || segment->leftovers == NULL)) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of files");
    }
    for (size_t at = 0; at < list.count && status == AUR_OK; at++) {
        const file_entry *entry = &list.entries[at];
        if (entry->is_log) {
            status = open_extent(segment, entry, error);
        } else if (!is_known_layer(&segment->manifest, entry->number)) {
            segment->leftovers[segment->leftover_count++] = entry->number;
        }
    }
    free(list.entries);
    if (status == AUR_OK) {
        read_extent_headers(segment);
    }
    return status;
}

static aur_status open_layers(aur_segment *segment, aur_error *error) {
    const auri_manifest *manifest = &segment->manifest;
    aur_status status = AUR_OK;
    uint32_t opened = 0;
    auri_layer **layers = calloc((size_t)manifest->layer_count + 1, sizeof *layers);
    if (layers == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for the list of layers");
    }
    for (; opened < manifest->layer_count && status == AUR_OK; opened++) {
        aur_error damage;
        aur_error_clear(&damage);
        status = auri_segment_layer_open(segment->disk, &segment->identity,
                                         segment->options.planted_bugs, &manifest->layers[opened],
                                         &layers[opened], &damage);
        if (status != AUR_OK) {
            tell(error, &damage);
            break;
        }
        layers[opened]->kept_bytes = &segment->kept_index_bytes;
        if (damage.status != AUR_OK) {
            auri_segment_note_damage(segment, &damage);
        }
    }
    if (status == AUR_OK) {
        segment->view =
            auri_segment_view_create(layers, opened, manifest->rewinds, manifest->rewind_count);
        status = segment->view != NULL ? AUR_OK
                                       : aur_fail(error, AUR_ERR_MEMORY, "no memory for a view");
    }
    for (uint32_t at = 0; at < opened; at++) {
        auri_segment_layer_release(layers[at]);
    }
    free(layers);
    return status;
}

/* Below it something may be missing; nobody can retain what is gone. */
static aur_lsn collected_horizon(const auri_manifest *manifest) {
    aur_lsn horizon = 0;
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        const aur_lsn collected = manifest->layers[at].horizon;
        horizon = collected > horizon ? collected : horizon;
    }
    return horizon;
}

/* A manifest from before layers were taken over may be behind what it lists. */
static uint64_t next_layer(const auri_manifest *manifest) {
    uint64_t next = manifest->next_layer;
    for (uint32_t at = 0; at < manifest->layer_count; at++) {
        const uint64_t count = manifest->layers[at].number >> AURI_NUMBER_MIX_BITS;
        next = count >= next ? count + 1 : next;
    }
    return next;
}

/* The log of a group that is smaller than an extent has extents of the group's size. */
static uint64_t extent_bytes_of(const aur_segment_options *options,
                                const aur_segment_identity *identity) {
    const uint64_t group_bytes = identity->group_pages * identity->page_bytes;
    const uint64_t least =
        group_bytes < AURI_FIRST_EXTENT_BYTES ? AURI_FIRST_EXTENT_BYTES : group_bytes;
    return options->extent_bytes < least ? options->extent_bytes : least;
}

static aur_segment *allocate(aur_disk *disk, const aur_segment_options *options,
                             const auri_manifest *manifest) {
    aur_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) {
        return NULL;
    }
    segment->active = auri_segment_memtable_create();
    if (segment->active == NULL) {
        free(segment);
        return NULL;
    }
    pthread_mutex_init(&segment->work_lock, NULL);
    pthread_mutex_init(&segment->manifest_lock, NULL);
    pthread_mutex_init(&segment->lock, NULL);
    segment->disk = disk;
    segment->options = *options;
    segment->manifest = *manifest;
    segment->identity = manifest->identity;
    segment->options.extent_bytes = extent_bytes_of(options, &manifest->identity);
    segment->log.bulk_bytes = segment->options.extent_bytes / AURI_BULK_SHARE;
    segment->volume_seed = aur_volume_seed(manifest->identity.volume_id);
    segment->vdl = manifest->vdl;
    segment->horizon = collected_horizon(manifest);
    segment->log.next_sequence = 1;
    segment->next_layer = next_layer(manifest);
    aur_error_clear(&segment->damage);
    return segment;
}

aur_status aur_segment_open(aur_disk *disk, const aur_segment_identity *expected,
                            const aur_segment_options *options, aur_segment **segment_out,
                            aur_error *error) {
    auri_manifest manifest;
    *segment_out = NULL;
    aur_status status = auri_segment_manifest_load(disk, &manifest, error);
    if (status == AUR_OK) {
        status = check_expected(&manifest, expected, disk, error);
    }
    if (status != AUR_OK) {
        auri_segment_manifest_free(&manifest);
        return status;
    }
    aur_segment *segment = allocate(disk, options, &manifest);
    if (segment == NULL) {
        auri_segment_manifest_free(&manifest);
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a segment");
    }
    status = open_layers(segment, error);
    if (status == AUR_OK) {
        status = open_files(segment, error);
        auri_segment_reserve(segment->disk);
    }
    if (status == AUR_OK) {
        status = auri_segment_log_scan(segment, error);
    }
    if (status != AUR_OK) {
        auri_segment_free(segment);
        return status;
    }
    *segment_out = segment;
    return AUR_OK;
}
