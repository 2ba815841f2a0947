/* The functions of <aurora/transaction.h> that start from an engine. */
#include "api/api_private.h"

aur_status aur_engine_get(aur_engine *engine, aur_table *table, const uint8_t *key,
                          size_t key_bytes, bool cached_only, aur_found *found_out,
                          aur_error *error) {
    return aur_transactions_get(engine->transactions, table, key, key_bytes, cached_only, found_out,
                                error);
}

aur_status aur_engine_put(aur_engine *engine, aur_table *table, const uint8_t *key,
                          size_t key_bytes, const uint8_t *value, uint64_t value_bytes,
                          uint64_t *lsn_out, aur_error *error) {
    return aur_transactions_put(engine->transactions, table, key, key_bytes, value, value_bytes,
                                lsn_out, error);
}

aur_status aur_engine_delete(aur_engine *engine, aur_table *table, const uint8_t *key,
                             size_t key_bytes, uint64_t *lsn_out, aur_error *error) {
    return aur_transactions_delete(engine->transactions, table, key, key_bytes, lsn_out, error);
}

aur_status aur_transaction_begin(aur_engine *engine, bool read_only, bool cached_only,
                                 aur_transaction **out, aur_error *error) {
    return aur_transactions_begin(engine->transactions, read_only, cached_only, out, error);
}

aur_status aur_transaction_begin_blind(aur_engine *engine, aur_transaction **out,
                                       aur_error *error) {
    return aur_transactions_begin_blind(engine->transactions, out, error);
}
