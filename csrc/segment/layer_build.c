/*
 * Building a layer out of records in order, with images where a page's chain gets long, so that a
 * read need not go further back than a bound. All records are kept: an image adds, it does not
 * replace.
 */
#include <stdlib.h>

#include "segment/segment_private.h"

struct auri_builder {
    aur_segment *segment;
    auri_layer_writer *writer;
    uint64_t number;
    bool finished;
    uint32_t records_max, bytes_max; /* of a chain without an image */
    aur_page_id page_id;             /* the page whose records come now */
    aur_lsn last_lsn;
    uint32_t chain_records, chain_bytes; /* since the last record that needs no older one */
    uint8_t *chain;                      /* the page's records from that one on, encoded */
    size_t chain_length, chain_capacity;
    uint8_t *page;
    uint8_t *scratch;
    uint8_t *image; /* an encoded image record */
};

/* A flush happens in the write path's shadow and reads older layers for each image, so only a page
 * that is very hot gets one there. A merge brings every chain under the bound. */
static void set_bounds(auri_builder *builder, uint32_t tier) {
    const uint32_t page_bytes = builder->segment->identity.page_bytes;
    builder->records_max = tier == 0 ? 128 : 16;
    builder->bytes_max = tier == 0 ? 4 * page_bytes : page_bytes / 2;
}

static uint64_t take_number(aur_segment *segment) {
    pthread_mutex_lock(&segment->lock);
    const uint64_t number = segment->next_layer++;
    pthread_mutex_unlock(&segment->lock);
    return number;
}

aur_status auri_segment_builder_open(aur_segment *segment, uint32_t tier,
                                     auri_builder **builder_out, aur_error *error) {
    *builder_out = NULL;
    auri_builder *builder = calloc(1, sizeof *builder);
    if (builder == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for building a layer");
    }
    builder->segment = segment;
    builder->number = take_number(segment);
    set_bounds(builder, tier);
    builder->page = malloc(segment->identity.page_bytes);
    builder->scratch = malloc(segment->identity.page_bytes);
    builder->image = malloc(AUR_RECORD_BODY_AT + (size_t)segment->identity.page_bytes + 4);
    aur_status status = AUR_OK;
    if (builder->page == NULL || builder->scratch == NULL || builder->image == NULL) {
        status = aur_fail(error, AUR_ERR_MEMORY, "no memory for building a layer");
    }
    if (status == AUR_OK) {
        status =
            auri_segment_layer_writer_open(segment, builder->number, tier, &builder->writer, error);
    }
    if (status != AUR_OK) {
        auri_segment_builder_close(builder);
        return status;
    }
    *builder_out = builder;
    return AUR_OK;
}

static void forget_chain(auri_builder *builder) {
    builder->chain_records = 0;
    builder->chain_bytes = 0;
    builder->chain_length = 0;
}

static aur_status remember_record(auri_builder *builder, const uint8_t *bytes, size_t length) {
    if (builder->chain_length + length > builder->chain_capacity) {
        const size_t capacity = 2 * (builder->chain_length + length);
        uint8_t *grown = realloc(builder->chain, capacity);
        if (grown == NULL) {
            return AUR_ERR_MEMORY;
        }
        builder->chain = grown;
        builder->chain_capacity = capacity;
    }
    memcpy(builder->chain + builder->chain_length, bytes, length);
    builder->chain_length += length;
    return AUR_OK;
}

/* Applies the remembered records, on top of what older layers have when the first of them needs it.
 */
static aur_status apply_chain(auri_builder *builder) {
    const uint32_t page_bytes = builder->segment->identity.page_bytes;
    aur_status status = AUR_OK;
    for (size_t at = 0; at < builder->chain_length && status == AUR_OK;) {
        aur_record record;
        size_t used;
        status = aur_record_decode(builder->chain + at, builder->chain_length - at, &record, &used);
        if (status == AUR_OK && at == 0 && (record.flags & AUR_RECORD_INIT) == 0) {
            status = auri_segment_build_page(builder->segment, builder->page_id,
                                             record.page_prev_lsn, builder->page, NULL);
        }
        if (status == AUR_OK) {
            status = aur_page_apply(builder->page, page_bytes, &record, builder->scratch);
        }
        at += used;
    }
    return status;
}

/* The page as its last record leaves it. Records that do not follow each other belong to histories
 * that were rewound: then only a read from the layers can tell which of them count. */
static aur_status build_page(auri_builder *builder) {
    aur_status status = apply_chain(builder);
    if (status == AUR_ERR_CORRUPT) {
        status = auri_segment_build_page(builder->segment, builder->page_id, builder->last_lsn,
                                         builder->page, NULL);
    }
    return status;
}

/* Adds an image behind the page's last record when its chain is long. A page that cannot be built
 * (an older layer is damaged) goes without: the records that are here are still worth keeping. */
static aur_status finish_page(auri_builder *builder, aur_error *error) {
    const uint32_t page_bytes = builder->segment->identity.page_bytes;
    if (builder->chain_records <= builder->records_max &&
        builder->chain_bytes <= builder->bytes_max) {
        return AUR_OK;
    }
    const aur_status status = build_page(builder);
    if (status != AUR_OK) {
        return status == AUR_ERR_MEMORY ? aur_fail(error, status, "no memory for a page image")
                                        : AUR_OK;
    }
    const aur_record record = {
        .op = AUR_OP_IMAGE,
        .flags = AUR_RECORD_INIT,
        .lsn = builder->last_lsn,
        .page_id = builder->page_id,
        .body_bytes =
            aur_page_image_body(builder->page, page_bytes, builder->image + AUR_RECORD_BODY_AT),
    };
    aur_record_encode(&record, builder->image);
    return auri_segment_layer_writer_add(builder->writer, &record, builder->image,
                                         aur_record_bytes(&record), error);
}

aur_status auri_segment_builder_add(auri_builder *builder, const aur_record *record,
                                    const uint8_t *bytes, size_t length, aur_error *error) {
    const bool init = (record->flags & AUR_RECORD_INIT) != 0;
    if (record->page_id != builder->page_id) {
        const aur_status status = finish_page(builder, error);
        if (status != AUR_OK) {
            return status;
        }
        builder->page_id = record->page_id;
        forget_chain(builder);
    }
    builder->last_lsn = record->lsn;
    if (init) {
        forget_chain(builder);
    } else {
        builder->chain_records++;
        builder->chain_bytes += (uint32_t)length;
    }
    if (remember_record(builder, bytes, length) != AUR_OK) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory for a page's chain");
    }
    return auri_segment_layer_writer_add(builder->writer, record, bytes, length, error);
}

uint64_t auri_segment_builder_bytes(const auri_builder *builder) {
    return auri_segment_layer_writer_bytes(builder->writer);
}

aur_status auri_segment_builder_finish(auri_builder *builder, auri_layer **layer_out,
                                       aur_error *error) {
    aur_segment *segment = builder->segment;
    auri_layer_info info;
    *layer_out = NULL;
    aur_status status = finish_page(builder, error);
    if (status == AUR_OK) {
        status = auri_segment_layer_writer_finish(builder->writer, &info, error);
    }
    if (status == AUR_OK) {
        builder->finished = true;
        aur_error damage;
        aur_error_clear(&damage);
        status = auri_segment_layer_open(segment->disk, &segment->identity,
                                         segment->options.planted_bugs, &info, layer_out, &damage);
        if (status == AUR_OK && damage.status != AUR_OK) {
            auri_segment_layer_release(*layer_out);
            *layer_out = NULL;
            status = damage.status;
        }
        if (status != AUR_OK) {
            status = aur_fail(error, status, "a layer that was just written cannot be opened");
        }
    }
    return status;
}

void auri_segment_builder_close(auri_builder *builder) {
    if (builder == NULL) {
        return;
    }
    auri_segment_layer_writer_close(builder->writer);
    if (!builder->finished && builder->writer != NULL) {
        char name[AURI_NAME_BYTES];
        auri_segment_layer_name(builder->number, name);
        /* What cannot be removed now is removed at the next open, as no manifest names it. */
        const aur_status removed = aur_disk_remove(builder->segment->disk, name, NULL);
        (void)removed;
    }
    free(builder->chain);
    free(builder->page);
    free(builder->scratch);
    free(builder->image);
    free(builder);
}
