/* The SQL side of an engine, and room for its commits. */
#include "api/api_private.h"

/* Lock held. */
static aur_status create_sql(aur_engine *engine, aur_error *error) {
    const aur_sql_options options = {
        .transactions = engine->transactions,
        .buffer = engine->buffer,
        .log = engine->log,
        .page_bytes = engine->options.page_bytes,
        .read_volatile = engine->options.read_volatile,
        .on_attention = auri_engine_ring,
        .listener_context = engine,
    };
    return aur_sql_create(&options, &engine->sql, error);
}

aur_status aur_engine_sql(aur_engine *engine, aur_sql **sql_out, aur_error *error) {
    aur_status status = auri_engine_check(engine, error);
    if (status != AUR_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&engine->lock);
    if (engine->sql == NULL) {
        status = create_sql(engine, error);
    }
    *sql_out = engine->sql;
    (void)pthread_mutex_unlock(&engine->lock);
    return status;
}

uint32_t aur_engine_growth_wanted(aur_engine *engine) {
    return aur_transactions_growth_wanted(engine->transactions);
}

void aur_engine_refuse_growth(aur_engine *engine, int status, const char *why) {
    aur_error error;
    aur_error_clear(&error);
    (void)aur_fail(&error, (aur_status)status, "%.250s", why);
    aur_transactions_refuse_growth(engine->transactions, &error);
}
