/* Journals. SQLite keeps in them what it needs to roll back a statement or a transaction of its
 * own; the volume needs none. */
#include <stdlib.h>
#include <string.h>

#include "sql/vfs.h"

/* ---- rollback journals ---- */

static auri_spool *spool_of(sqlite3_file *file) { return ((auri_journal_file *)file)->spool; }

static int code_of(aur_status status, int io_code) {
    if (status == AUR_OK) {
        return SQLITE_OK;
    }
    if (status == AUR_ERR_FULL) {
        return SQLITE_FULL;
    }
    return status == AUR_ERR_MEMORY ? SQLITE_IOERR_NOMEM : io_code;
}

static int close_journal(sqlite3_file *file) {
    auri_spool *spool = spool_of(file);
    auri_spool_destroy(spool);
    free(spool);
    return SQLITE_OK;
}

static int read_journal(sqlite3_file *file, void *out, int bytes, int64_t offset) {
    auri_spool *spool = spool_of(file);
    const uint64_t from = (uint64_t)offset;
    const uint64_t left = from < spool->size ? spool->size - from : 0;
    const size_t length = left < (uint64_t)bytes ? (size_t)left : (size_t)bytes;
    const aur_status status = auri_spool_read(spool, from, out, length, NULL);
    if (status != AUR_OK) {
        return code_of(status, SQLITE_IOERR_READ);
    }
    memset((uint8_t *)out + length, 0, (size_t)bytes - length);
    return length == (size_t)bytes ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int write_journal(sqlite3_file *file, const void *from, int bytes, int64_t offset) {
    return code_of(auri_spool_write(spool_of(file), (uint64_t)offset, from, (size_t)bytes, NULL),
                   SQLITE_IOERR_WRITE);
}

static int truncate_journal(sqlite3_file *file, int64_t size) {
    auri_spool_truncate(spool_of(file), (uint64_t)size);
    return SQLITE_OK;
}

static int journal_size(sqlite3_file *file, int64_t *size_out) {
    *size_out = (int64_t)spool_of(file)->size;
    return SQLITE_OK;
}

/* ---- what all journals do alike ---- */

int auri_file_sync_nothing(sqlite3_file *file, int flags) {
    (void)file;
    (void)flags;
    return SQLITE_OK;
}

static int lock_nothing(sqlite3_file *file, int level) {
    (void)file;
    (void)level;
    return SQLITE_OK;
}

int auri_file_reserved_by_nobody(sqlite3_file *file, int *out) {
    (void)file;
    *out = 0;
    return SQLITE_OK;
}

static int control_nothing(sqlite3_file *file, int operation, void *argument) {
    (void)file;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

int auri_file_sector_bytes(sqlite3_file *file) {
    (void)file;
    return 512;
}

static int characteristics(sqlite3_file *file) {
    (void)file;
    return SQLITE_IOCAP_SAFE_APPEND | SQLITE_IOCAP_SEQUENTIAL | SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods journal_methods = {
    .iVersion = 1,
    .xClose = close_journal,
    .xRead = read_journal,
    .xWrite = write_journal,
    .xTruncate = truncate_journal,
    .xSync = auri_file_sync_nothing,
    .xFileSize = journal_size,
    .xLock = lock_nothing,
    .xUnlock = lock_nothing,
    .xCheckReservedLock = auri_file_reserved_by_nobody,
    .xFileControl = control_nothing,
    .xSectorSize = auri_file_sector_bytes,
    .xDeviceCharacteristics = characteristics,
};

int auri_journal_file_open(auri_journal_file *file) {
    file->spool = malloc(sizeof *file->spool);
    if (file->spool == NULL) {
        return SQLITE_IOERR_NOMEM;
    }
    auri_spool_init(file->spool);
    file->base.pMethods = &journal_methods;
    return SQLITE_OK;
}

/* ---- super-journals ---- */

/* It outlives its file: its deletion comes later, and is the commit. */
static int close_super(sqlite3_file *file) {
    (void)file;
    return SQLITE_OK;
}

/* SQLite writes the names of the journals, one by one, before it writes anything else. */
static int write_super(sqlite3_file *file, const void *from, int bytes, int64_t offset) {
    const auri_super_file *ours = (auri_super_file *)file;
    aur_error error;
    aur_error_clear(&error);
    (void)offset;
    return code_of(auri_super_claim(ours->sql, ours->super, from, (size_t)bytes, &error),
                   SQLITE_IOERR_WRITE);
}

static int read_super(sqlite3_file *file, void *out, int bytes, int64_t offset) {
    (void)file;
    (void)offset;
    memset(out, 0, (size_t)bytes);
    return SQLITE_IOERR_SHORT_READ;
}

static int truncate_super(sqlite3_file *file, int64_t size) {
    (void)file;
    (void)size;
    return SQLITE_OK;
}

/* In a rollback SQLite would look at each journal that it names, and delete it with the last one:
 * nobody needs to look. */
static int super_size(sqlite3_file *file, int64_t *size_out) {
    (void)file;
    *size_out = 0;
    return SQLITE_OK;
}

static const sqlite3_io_methods super_methods = {
    .iVersion = 1,
    .xClose = close_super,
    .xRead = read_super,
    .xWrite = write_super,
    .xTruncate = truncate_super,
    .xSync = auri_file_sync_nothing,
    .xFileSize = super_size,
    .xLock = lock_nothing,
    .xUnlock = lock_nothing,
    .xCheckReservedLock = auri_file_reserved_by_nobody,
    .xFileControl = control_nothing,
    .xSectorSize = auri_file_sector_bytes,
    .xDeviceCharacteristics = characteristics,
};

int auri_super_file_open(aur_sql *sql, const char *name, auri_super_file *file) {
    file->sql = sql;
    file->super = auri_super_find(sql, name);
    if (file->super == NULL) {
        file->super = auri_super_create(sql, name);
    }
    if (file->super == NULL) {
        return SQLITE_IOERR_NOMEM;
    }
    file->base.pMethods = &super_methods;
    return SQLITE_OK;
}
