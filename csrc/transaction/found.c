/* Values handed to the caller, and what keeps them valid until they are released. */
#include <string.h>

#include "transaction/transaction_private.h"

/* What stands in aur_found.hidden. All zero: nothing to release. */
typedef struct found_keeper {
    aur_transactions *transactions; /* the pin's or the point's owner; NULL for an own write */
    auri_arena *arena;              /* of an own write */
    auri_point *point;              /* of a big value in the tree, which is read later */
    aur_page_ref ref;
    aur_page_id overflow;
    aur_lsn read_point;
    uint32_t table;
} found_keeper;

_Static_assert(sizeof(found_keeper) <= sizeof((aur_found *)0)->hidden, "aur_found has the room");

static found_keeper keeper_of(const aur_found *found) {
    found_keeper keeper;
    memcpy(&keeper, found->hidden, sizeof keeper);
    return keeper;
}

static void set_keeper(aur_found *found, const found_keeper *keeper) {
    memcpy(found->hidden, keeper, sizeof *keeper);
}

void auri_found_in_tree(aur_transactions *transactions, const aur_value *value, auri_point *point,
                        aur_found *found_out) {
    found_keeper keeper = {.transactions = transactions,
                           .ref = value->ref,
                           .overflow = value->overflow,
                           .read_point = value->read_point,
                           .table = value->table};
    if (value->data == NULL && value->length > 0) {
        auri_read_points *points = &transactions->points;
        (void)pthread_mutex_lock(&points->lock);
        keeper.point = auri_read_points_share(points, point);
        (void)pthread_mutex_unlock(&points->lock);
    }
    found_out->data = value->data;
    found_out->length = value->length;
    set_keeper(found_out, &keeper);
}

void auri_found_in_arena(auri_arena *arena, const auri_write *write, aur_found *found_out) {
    const found_keeper keeper = {.arena = arena};
    auri_arena_acquire(arena);
    found_out->data = write->value;
    found_out->length = write->value_bytes;
    set_keeper(found_out, &keeper);
}

static aur_value value_of(const aur_found *found, const found_keeper *keeper) {
    return (aur_value){.data = found->data,
                       .length = found->length,
                       .overflow = keeper->overflow,
                       .table = keeper->table,
                       .read_point = keeper->read_point,
                       .ref = keeper->ref};
}

aur_status aur_found_read(aur_found *found, uint8_t *out, aur_error *error) {
    if (found->length == 0) {
        return AUR_OK;
    }
    if (found->data != NULL) {
        memcpy(out, found->data, found->length);
        return AUR_OK;
    }
    const found_keeper keeper = keeper_of(found);
    const aur_value value = value_of(found, &keeper);
    const aur_reader reader = auri_reader(keeper.transactions, keeper.read_point, false);
    return aur_value_read(&reader, &value, out, error);
}

void aur_found_release(aur_found *found) {
    const found_keeper keeper = keeper_of(found);
    if (keeper.transactions != NULL) {
        aur_value value = value_of(found, &keeper);
        const aur_reader reader = auri_reader(keeper.transactions, keeper.read_point, false);
        aur_value_release(&reader, &value);
    }
    if (keeper.point != NULL) {
        auri_read_points *points = &keeper.transactions->points;
        (void)pthread_mutex_lock(&points->lock);
        auri_read_points_remove(points, keeper.point);
        (void)pthread_mutex_unlock(&points->lock);
    }
    auri_arena_release(keeper.arena);
    memset(found, 0, sizeof *found);
}
