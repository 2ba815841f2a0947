/*
 * The past of a volume: views of any retained moment, when commits happened, and going back to one.
 * What a moment, a rewind, the horizon and a pin are: docs/internals/history.md.
 *
 * Thread rule: as in engine.h, but for the calls between aur_engine_hold and aur_engine_release,
 * which belong to the thread that holds.
 */
#ifndef AURORA_HISTORY_H
#define AURORA_HISTORY_H

#include <aurora/rewind.h>
#include <aurora/transaction.h>

/* A read-only transaction at moment `lsn`: VDL, the LSN of a commit, or `at` + 1 of a rewind. LSNs
 * that a recovery has dropped stand for the VDL at which it went on. AUR_ERR_SNAPSHOT: it is below
 * the horizon and nobody has it pinned. AUR_ERR_INVALID: above VDL. Ends like any other
 * transaction. */
AUR_API AUR_CHECKED aur_status aur_engine_view(aur_engine *engine, uint64_t lsn,
                                               aur_transaction **out, aur_error *error);

/* Every moment from the horizon on is retained. It only rises: a lower value changes nothing. */
AUR_API void aur_engine_set_horizon(aur_engine *engine, uint64_t lsn);
AUR_API uint64_t aur_engine_horizon(aur_engine *engine);

/* Moments below `below` that are pinned, ascending: stores at most `capacity`, returns how many
 * there are. */
AUR_API size_t aur_engine_pins(aur_engine *engine, uint64_t below, uint64_t *out, size_t capacity);

/* The newest commit at or before a time, and at or below an LSN, by LSN alone: abandoned ones too.
 * AUR_NOT_FOUND: none that is retained. May do I/O. */
AUR_API AUR_CHECKED aur_status aur_engine_commit_at_time(aur_engine *engine, uint64_t time_us,
                                                         uint64_t *lsn_out, uint64_t *time_out,
                                                         aur_error *error);
AUR_API AUR_CHECKED aur_status aur_engine_commit_at_lsn(aur_engine *engine, uint64_t lsn,
                                                        uint64_t *lsn_out, uint64_t *time_out,
                                                        aur_error *error);
/* How many commits there are with after < LSN <= upto, abandoned ones too. */
AUR_API AUR_CHECKED aur_status aur_engine_count_commits(aur_engine *engine, uint64_t after,
                                                        uint64_t upto, uint64_t *count_out,
                                                        aur_error *error);

/*
 * Stops commits, and waits until all that was committed is durable. *lsn_out is then `at` of a
 * rewind that is made now: it is VDL, or, when a recovery skipped LSNs and nothing was committed
 * since, lies above those, and a read at it sees what one at VDL sees. AUR_TIMEOUT and errors
 * (AUR_ERR_QUORUM, AUR_ERR_FENCED, AUR_ERR_CLOSED) leave commits going on. Between hold and
 * release, in the same thread, the holder may record a rewind in the segments and then tell the
 * engine; it uses no transaction
 * meanwhile, nor a one-shot operation. Release lets commits go on.
 */
AUR_API AUR_CHECKED aur_status aur_engine_hold(aur_engine *engine, uint64_t timeout_ns,
                                               uint64_t *lsn_out, aur_error *error);
/* History goes on from rewind->to: VDL becomes rewind->at + 1. `at` is what hold gave. The rewind
 * is durable at a write quorum of every group; copies that have not recorded it fail, and serve no
 * reads until they are replaced. Read-write transactions that began before answer AUR_ERR_CONFLICT
 * from now on; views keep what they see. AUR_ERR_INVALID: the rewind is not of this moment. Other
 * errors: whether it holds is for a recovery in place to decide, and nobody commits before that. */
AUR_API AUR_CHECKED aur_status aur_engine_rewind(aur_engine *engine, const aur_rewind *rewind,
                                                 aur_error *error);
AUR_API void aur_engine_release(aur_engine *engine);

#endif
