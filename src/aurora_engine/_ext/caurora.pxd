# What the C core offers, as declared in csrc/include/aurora and in the headers of disk and segment.
# Externs only.
#
# Every function is nogil: C threads and C functions never touch Python. Functions that may wait or
# do I/O are called inside `with nogil:`; the comment `# waits` marks them.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

# The return type of callbacks must be C's own, not the int that `bint` stands for.
cdef extern from "<stdbool.h>":
    ctypedef bint c_bool "bool"

cdef extern from "aurora/errors.h" nogil:
    ctypedef enum aur_status:
        AUR_OK
        AUR_NOT_FOUND
        AUR_WOULD_BLOCK
        AUR_TIMEOUT
        AUR_GAP
        AUR_NEEDS_GROUPS
        AUR_NO_TABLE
        AUR_ERR_CORRUPT
        AUR_ERR_VERSION
        AUR_ERR_IO
        AUR_ERR_FULL
        AUR_ERR_READ_ONLY
        AUR_ERR_QUORUM
        AUR_ERR_FENCED
        AUR_ERR_CONFLICT
        AUR_ERR_SNAPSHOT
        AUR_ERR_LOCKED
        AUR_ERR_CLOSED
        AUR_ERR_INVALID
        AUR_ERR_MEMORY

    enum:
        AUR_ERROR_TEXT_BYTES

    ctypedef struct aur_error:
        aur_status status
        int system_errno
        int32_t group
        int32_t copy
        uint64_t offset
        uint64_t lsn
        char file[256]
        char message[256]

    const char *aur_status_text(aur_status status)

cdef extern from "aurora/rewind.h" nogil:
    enum:
        AUR_REWIND_WHO_BYTES

    ctypedef struct aur_rewind:
        uint64_t at
        uint64_t to
        uint64_t epoch
        uint64_t time_us
        uint64_t lost_commits
        uint32_t kind
        char who[48]

cdef extern from "aurora/engine.h" nogil:
    ctypedef struct aur_engine
    ctypedef struct aur_segment

    enum:
        AUR_ENGINE_DRIVE_RING
        AUR_ENGINE_DRIVE_THREADS
        AUR_ENGINE_DRIVE_MANUAL

    ctypedef struct aur_engine_options:
        uint8_t volume_id[16]
        uint32_t page_bytes
        uint32_t copies
        uint64_t group_pages
        uint64_t cache_bytes
        uint64_t volume_pages
        uint32_t drive
        bint read_volatile
        bint ungated
        uint32_t planted_bugs
        int lock_descriptor
        uint64_t (*wall_us)(void *context) noexcept nogil
        void *clock_context

    ctypedef struct aur_engine_start_point:
        uint64_t epoch
        uint64_t vdl
        uint64_t next_lsn
        uint64_t time_us
        uint32_t groups
        const uint64_t *group_lsn
        uint32_t rewind_count
        const aur_rewind *rewinds

    aur_status aur_engine_create(
        const aur_engine_options *options, aur_engine **engine_out, aur_error *error
    )
    void aur_engine_destroy(aur_engine *engine)  # waits
    aur_status aur_engine_add_group(
        aur_engine *engine, aur_segment *const *segments, uint32_t copies, aur_error *error
    )  # waits
    aur_status aur_engine_start(
        aur_engine *engine, const aur_engine_start_point *start, aur_error *error
    )  # waits
    void aur_engine_stop(aur_engine *engine)  # waits
    void aur_engine_close(aur_engine *engine)  # waits
    aur_status aur_engine_replace(
        aur_engine *engine, uint32_t group, uint32_t copy, aur_segment *segment,
        aur_segment **old_out, aur_error *error
    )  # waits
    aur_status aur_engine_step(aur_engine *engine, uint32_t group, uint32_t copy)  # waits
    void aur_engine_ship(aur_engine *engine)
    aur_status aur_engine_wait_durable(
        aur_engine *engine, uint64_t lsn, uint64_t timeout_ns, aur_error *error
    )  # waits
    int aur_engine_event_descriptor(aur_engine *engine)
    void aur_engine_drain(aur_engine *engine)
    void aur_engine_set_cache_bytes(aur_engine *engine, uint64_t cache_bytes)  # waits
    uint32_t aur_engine_groups_wanted(aur_engine *engine)
    uint32_t aur_engine_growth_wanted(aur_engine *engine)
    void aur_engine_refuse_growth(aur_engine *engine, int status, const char *why)  # waits

    ctypedef struct aur_engine_copy:
        uint32_t state
        uint64_t scl
        uint64_t queued_bytes
        aur_error error

    aur_status aur_engine_copy_status(
        aur_engine *engine, uint32_t group, uint32_t copy, aur_engine_copy *out
    )

    ctypedef struct aur_engine_status:
        uint64_t epoch
        uint64_t vdl
        uint64_t vcl
        uint64_t head
        uint64_t next_lsn
        uint64_t durable_time_us
        uint32_t groups
        int32_t write_status
        uint64_t snapshots
        uint64_t cache_budget_bytes
        uint64_t cache_used_bytes
        uint64_t cache_hits
        uint64_t cache_misses
        uint64_t cache_evictions
        uint64_t commits
        uint64_t conflicts
        uint64_t records
        uint64_t boxcars
        uint64_t log_bytes
        uint64_t pages_used
        uint64_t pages_extent

    void aur_engine_get_status(aur_engine *engine, aur_engine_status *out)

    ctypedef struct aur_engine_verified:
        uint64_t tables
        uint64_t pages
        uint64_t records
        uint64_t leaked_pages

    aur_status aur_engine_verify(
        aur_engine *engine, aur_engine_verified *out, aur_error *error
    )  # waits

cdef extern from "aurora/transaction.h" nogil:
    ctypedef struct aur_transaction
    ctypedef struct aur_cursor
    ctypedef struct aur_table

    enum:
        AUR_KEY_LIMIT
        AUR_LOOKUPS_LIMIT
        AUR_PUTS_LIMIT
        AUR_TABLE_NAME_LIMIT
    const uint64_t AUR_VALUE_LIMIT

    ctypedef struct aur_found:
        const uint8_t *data
        uint64_t length
        void *hidden[8]

    aur_status aur_engine_get(
        aur_engine *engine, aur_table *table, const uint8_t *key, size_t key_bytes,
        bint cached_only, aur_found *found_out, aur_error *error
    )  # waits unless cached_only
    aur_status aur_engine_put(
        aur_engine *engine, aur_table *table, const uint8_t *key, size_t key_bytes,
        const uint8_t *value, uint64_t value_bytes, uint64_t *lsn_out, aur_error *error
    )  # waits
    aur_status aur_engine_delete(
        aur_engine *engine, aur_table *table, const uint8_t *key, size_t key_bytes,
        uint64_t *lsn_out, aur_error *error
    )  # waits

    aur_status aur_transaction_begin(aur_engine *engine, bint read_only, bint cached_only,
                                     aur_transaction **out, aur_error *error)  # waits
    aur_status aur_transaction_begin_blind(aur_engine *engine, aur_transaction **out,
                                           aur_error *error)
    aur_status aur_transaction_commit(
        aur_transaction *transaction, uint64_t *lsn_out, aur_error *error
    )  # waits
    void aur_transaction_rollback(aur_transaction *transaction)
    void aur_transaction_destroy(aur_transaction *transaction)
    uint64_t aur_transaction_read_point(const aur_transaction *transaction)
    aur_status aur_transaction_get(
        aur_transaction *transaction, aur_table *table, const uint8_t *key, size_t key_bytes,
        bint cached_only, aur_found *found_out, aur_error *error
    )  # waits unless cached_only

    ctypedef struct aur_lookup:
        const uint8_t *key
        size_t key_bytes
        aur_status status
        aur_found found

    aur_status aur_transaction_get_many(
        aur_transaction *transaction, aur_table *table, aur_lookup *lookups, size_t count,
        aur_error *error
    )
    void aur_transaction_will_get(
        aur_transaction *transaction, aur_table *table, const aur_lookup *lookups, size_t count
    )  # waits
    aur_status aur_transaction_put(
        aur_transaction *transaction, aur_table *table, const uint8_t *key, size_t key_bytes,
        const uint8_t *value, uint64_t value_bytes, aur_error *error
    )

    ctypedef struct aur_entry:
        const uint8_t *key
        const uint8_t *value
        size_t key_bytes
        uint64_t value_bytes

    aur_status aur_transaction_put_many(
        aur_transaction *transaction, aur_table *table, const aur_entry *entries, size_t count,
        aur_error *error
    )
    aur_status aur_transaction_delete(
        aur_transaction *transaction, aur_table *table, const uint8_t *key, size_t key_bytes,
        bint cached_only, aur_error *error
    )  # waits unless cached_only
    aur_status aur_transaction_count(
        aur_transaction *transaction, aur_table *table, uint64_t *count_out, aur_error *error
    )  # waits
    aur_status aur_found_read(aur_found *found, uint8_t *out, aur_error *error)  # waits
    void aur_found_release(aur_found *found)

    aur_status aur_transaction_table(
        aur_transaction *transaction, const char *name, size_t name_bytes, bint create,
        aur_table **table_out, aur_error *error
    )  # waits
    aur_status aur_transaction_drop_table(
        aur_transaction *transaction, const char *name, size_t name_bytes, aur_error *error
    )  # waits
    aur_status aur_transaction_table_name(
        aur_transaction *transaction, size_t index, char *name_out, size_t *name_bytes_out,
        aur_error *error
    )  # waits

    aur_status aur_cursor_open(
        aur_transaction *transaction, aur_table *table, const uint8_t *start, size_t start_bytes,
        const uint8_t *stop, size_t stop_bytes, bint reverse, bint cached_only,
        aur_cursor **cursor_out, aur_error *error
    )  # waits unless cached_only
    aur_status aur_cursor_fetch(
        aur_cursor *cursor, bint cached_only, aur_entry *entries, size_t capacity,
        size_t *count_out, aur_error *error
    )  # waits unless cached_only
    aur_status aur_cursor_read(
        aur_cursor *cursor, const aur_entry *entry, uint8_t *out, aur_error *error
    )  # waits
    aur_status aur_cursor_page_end(
        aur_cursor *cursor, const uint8_t *key, size_t key_bytes, uint8_t *end_out,
        size_t *end_bytes_out, aur_error *error
    )  # waits
    void aur_cursor_close(aur_cursor *cursor)

cdef extern from "aurora/history.h" nogil:
    aur_status aur_engine_view(
        aur_engine *engine, uint64_t lsn, aur_transaction **out, aur_error *error
    )
    void aur_engine_set_horizon(aur_engine *engine, uint64_t lsn)
    uint64_t aur_engine_horizon(aur_engine *engine)
    size_t aur_engine_pins(aur_engine *engine, uint64_t below, uint64_t *out, size_t capacity)
    aur_status aur_engine_commit_at_time(
        aur_engine *engine, uint64_t time_us, uint64_t *lsn_out, uint64_t *time_out,
        aur_error *error
    )  # waits
    aur_status aur_engine_commit_at_lsn(
        aur_engine *engine, uint64_t lsn, uint64_t *lsn_out, uint64_t *time_out, aur_error *error
    )  # waits
    aur_status aur_engine_count_commits(
        aur_engine *engine, uint64_t after, uint64_t upto, uint64_t *count_out, aur_error *error
    )  # waits
    aur_status aur_engine_hold(
        aur_engine *engine, uint64_t timeout_ns, uint64_t *lsn_out, aur_error *error
    )  # waits
    aur_status aur_engine_rewind(
        aur_engine *engine, const aur_rewind *rewind, aur_error *error
    )  # waits
    void aur_engine_release(aur_engine *engine)

cdef extern from "aurora/sql.h" nogil:
    enum:
        AUR_SQL_VFS_NAME_BYTES
        AUR_SQL_NAME_BYTES

    ctypedef struct aur_sql
    ctypedef struct aur_sql_host:
        void *context
        aur_status (*resolve)(
            void *context, const char *text, uint64_t *lsn_out, aur_error *error
        ) noexcept nogil
        size_t (*backtracks)(void *context, aur_rewind *out, size_t capacity) noexcept nogil
        c_bool (*goes_on)(void *context) noexcept nogil
    ctypedef struct aur_sql_state:
        uint64_t last_commit
        uint64_t read_point
        uint64_t in_doubt
        aur_error error
    ctypedef struct aur_sql_counts:
        uint64_t connections
        uint64_t opened
        uint64_t views
        uint64_t reads
        uint64_t writes
        uint64_t commits
        uint64_t conflicts

    aur_status aur_engine_sql(aur_engine *engine, aur_sql **sql_out, aur_error *error)  # waits
    void aur_sql_set_host(aur_sql *sql, const aur_sql_host *host)
    aur_status aur_sql_register(
        aur_sql *sql, const char *library, char *name_out, aur_error *error
    )
    uint64_t aur_sql_opened(aur_sql *sql)
    void aur_sql_take_thread_error(aur_error *out)
    aur_status aur_sql_set_wait(
        aur_sql *sql, uint64_t connection, c_bool wait, c_bool *before_out, aur_error *error
    )
    aur_status aur_sql_set_timeout(
        aur_sql *sql, uint64_t connection, uint64_t timeout_ms, aur_error *error
    )
    void aur_sql_interrupt(aur_sql *sql, uint64_t connection)
    aur_status aur_sql_add_tables(aur_sql *sql, uint64_t connection, aur_error *error)
    aur_status aur_sql_take_state(
        aur_sql *sql, uint64_t connection, aur_sql_state *out, aur_error *error
    )
    aur_status aur_sql_next_name(
        aur_sql *sql, const char *after, char *name_out, aur_error *error
    )  # waits
    aur_status aur_sql_drop(
        aur_sql *sql, const char *name, uint64_t timeout_ms, uint64_t *lsn_out, aur_error *error
    )  # waits
    void aur_sql_get_counts(aur_sql *sql, aur_sql_counts *out)

cdef extern from "format/checksum.h" nogil:
    uint64_t aur_checksum(const void *bytes, size_t length, uint64_t seed)
    uint64_t aur_volume_seed(const uint8_t *volume_id)

cdef extern from "disk/disk.h" nogil:
    ctypedef struct aur_disk

    aur_status aur_disk_open_posix(
        const char *path, bint create, aur_disk **disk_out, aur_error *error
    )  # waits
    aur_status aur_disk_open_memory(aur_disk **disk_out)
    aur_disk *aur_disk_acquire(aur_disk *disk)
    void aur_disk_close(aur_disk *disk)
    aur_status aur_disk_replace(aur_disk *disk, const char *name, const void *bytes, size_t length,
                                aur_error *error)  # waits
    aur_status aur_disk_remove(aur_disk *disk, const char *name, aur_error *error)  # waits
    aur_status aur_disk_list(
        aur_disk *disk,
        c_bool (*visit)(void *context, const char *name, uint64_t size_bytes) noexcept nogil,
        void *context, aur_error *error
    )  # waits
    const char *aur_disk_path(const aur_disk *disk)

cdef extern from "disk/faulty.h" nogil:
    ctypedef struct aur_fault_rates:
        uint32_t read_error_ppm
        uint32_t write_error_ppm
        uint32_t sync_error_ppm
        uint32_t flip_read_ppm
        uint32_t flip_write_ppm
        uint32_t misdirect_ppm
        uint32_t lost_write_ppm

    ctypedef struct aur_fault_counts:
        uint64_t reads
        uint64_t writes
        uint64_t syncs
        uint64_t faults

    aur_status aur_disk_open_faulty(aur_disk *inner, uint64_t seed, aur_disk **disk_out)
    void aur_faulty_set_rates(aur_disk *disk, const aur_fault_rates *rates)
    void aur_faulty_set_space(aur_disk *disk, uint64_t bytes)
    void aur_faulty_set_dead(aur_disk *disk, bint dead)
    void aur_faulty_crash_after(aur_disk *disk, uint64_t operations)
    void aur_faulty_crash(aur_disk *disk)
    void aur_faulty_recover(aur_disk *disk)
    aur_status aur_faulty_flip(aur_disk *disk, const char *name)
    void aur_faulty_counts(const aur_disk *disk, aur_fault_counts *counts_out)

cdef extern from "segment/frame_buffer.h" nogil:
    ctypedef struct aur_frame_header:
        uint32_t length
        uint32_t records
        uint64_t epoch
        uint64_t prev_lsn
        uint64_t first_lsn
        uint64_t last_lsn
        uint64_t volume_first
        uint64_t volume_last
        uint64_t last_cpl
        uint64_t vdl
        uint64_t time_us
        uint32_t group
        uint32_t groups  # 16 bits wide in C

    ctypedef struct aur_frame:
        uint8_t *bytes
        aur_frame_header header

    aur_status aur_frame_create_from(const uint8_t *bytes, size_t length, uint64_t volume_seed,
                                     aur_frame **frame_out)
    void aur_frame_release(aur_frame *frame)

cdef extern from "segment/segment.h" nogil:
    ctypedef struct aur_segment_identity:
        uint8_t volume_id[16]
        uint32_t group
        uint32_t copy
        uint32_t page_bytes
        uint32_t copies
        uint64_t group_pages

    ctypedef struct aur_segment_options:
        uint64_t extent_bytes
        uint64_t memtable_bytes
        uint32_t merge_fanout
        uint64_t delta_bytes
        uint64_t part_bytes
        uint32_t planted_bugs

    void aur_segment_default_options(aur_segment_options *options)

    enum:
        AUR_SEGMENT_OK
        AUR_SEGMENT_DAMAGED
        AUR_SEGMENT_FAILED

    ctypedef struct aur_segment_state:
        aur_segment_identity identity
        uint64_t epoch
        uint64_t scl
        uint64_t vdl
        uint64_t flushed_lsn
        uint64_t log_start
        uint32_t health
        uint32_t layers
        uint32_t deltas
        uint64_t horizon
        uint64_t base_progress
        uint64_t log_bytes
        uint64_t layer_bytes
        uint64_t live_bytes
        uint64_t history_bytes
        uint64_t delta_bytes
        uint64_t garbage_bytes
        uint64_t memory_bytes
        uint64_t unflushed_bytes
        aur_error damage

    ctypedef struct aur_retention:
        uint64_t horizon
        const uint64_t *points
        size_t count

    ctypedef struct aur_segment_snapshot

    ctypedef struct aur_verify_counts:
        uint64_t files
        uint64_t bytes
        uint64_t frames
        uint64_t records
        uint64_t damaged

    aur_status aur_segment_create(
        aur_disk *disk, const aur_segment_identity *identity, uint64_t epoch, uint64_t base_lsn,
        aur_error *error
    )  # waits
    aur_status aur_segment_open(aur_disk *disk, const aur_segment_identity *expected,
                                const aur_segment_options *options, aur_segment **segment_out,
                                aur_error *error)  # waits
    void aur_segment_close(aur_segment *segment)  # waits
    void aur_segment_get_state(aur_segment *segment, aur_segment_state *state_out)
    aur_status aur_segment_set_epoch(
        aur_segment *segment, uint64_t epoch, aur_error *error
    )  # waits
    void aur_segment_set_vdl(aur_segment *segment, uint64_t vdl)
    aur_status aur_segment_retain(aur_segment *segment, const aur_retention *retention)
    aur_status aur_segment_follow(
        aur_segment *segment, aur_segment *leader, aur_error *error
    )  # waits
    enum aur_tidying:
        AUR_TIDY_LOG
        AUR_TIDY_LAYERS
    aur_status aur_segment_tidy(
        aur_segment *segment, aur_tidying tidying, aur_error *error
    )  # waits
    aur_status aur_segment_pin(
        aur_segment *segment, aur_segment_snapshot **snapshot_out, aur_error *error
    )
    void aur_segment_unpin(aur_segment_snapshot *snapshot)
    aur_status aur_segment_clone(
        aur_segment_snapshot *snapshot, aur_disk *target,
        const aur_segment_identity *identity, uint64_t vdl, const aur_rewind *rewind,
        c_bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes) noexcept nogil,
        void *context, aur_error *error
    )  # waits
    aur_status aur_segment_rewind(
        aur_segment *segment, const aur_rewind *rewind, aur_error *error
    )  # waits
    size_t aur_segment_rewinds(aur_segment *segment, aur_rewind *out, size_t capacity)
    aur_status aur_segment_append(aur_segment *segment, aur_frame *frame, uint64_t *scl_out,
                                  aur_error *error)  # waits
    aur_status aur_segment_fill(
        aur_segment *segment, aur_frame *frame, uint64_t sender_epoch, uint64_t *scl_out,
        aur_error *error
    )  # waits
    aur_status aur_segment_read_page(
        aur_segment *segment, uint64_t page_id, uint64_t read_point, uint8_t *page, aur_error *error
    )  # waits
    aur_status aur_segment_next_frame(
        aur_segment *segment, uint64_t after_lsn, aur_frame **frame_out, aur_error *error
    )  # waits
    void aur_segment_fail(aur_segment *segment, const aur_error *why)
    aur_status aur_segment_check(aur_segment *segment, aur_error *error)  # waits
    aur_status aur_segment_work(aur_segment *segment, aur_error *error)  # waits
    aur_status aur_segment_compact(aur_segment *segment, aur_error *error)  # waits
    aur_status aur_segment_verify(
        aur_segment *segment, void (*report)(void *context, const aur_error *damage) noexcept nogil,
        void *context, aur_verify_counts *counts_out, aur_error *error
    )  # waits
    aur_status aur_segment_copy(
        aur_segment *source, aur_disk *target, const aur_segment_identity *identity,
        c_bool (*progress)(void *context, uint64_t done_bytes, uint64_t total_bytes) noexcept nogil,
        void *context, aur_error *error
    )  # waits
