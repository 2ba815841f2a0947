#include "sql/spool.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNKS_KEPT = 2 };

static const uint64_t memory_bytes = (uint64_t)AURI_SPOOL_CHUNKS * AURI_SPOOL_CHUNK_BYTES;

void auri_spool_init(auri_spool *spool) { memset(spool, 0, sizeof *spool); }

static void close_file(auri_spool *spool) {
    if (spool->file != NULL) {
        aur_file_close(spool->file);
        spool->file = NULL;
    }
    aur_disk_close(spool->disk);
    spool->disk = NULL;
}

static void free_chunks(auri_spool *spool, size_t from) {
    for (size_t at = from; at < AURI_SPOOL_CHUNKS && spool->chunk[at] != NULL; at++) {
        free(spool->chunk[at]);
        spool->chunk[at] = NULL;
    }
}

void auri_spool_destroy(auri_spool *spool) {
    close_file(spool);
    free_chunks(spool, 0);
}

void auri_spool_truncate(auri_spool *spool, uint64_t size) {
    if (size < spool->size) {
        spool->size = size;
    }
    if (size == 0) {
        close_file(spool);
        free_chunks(spool, CHUNKS_KEPT);
    }
}

static const char *temporary_folder(void) {
    static const char *const variables[] = {"SQLITE_TMPDIR", "TMPDIR"};
    for (size_t at = 0; at < sizeof variables / sizeof variables[0]; at++) {
        const char *folder = getenv(variables[at]);
        if (folder != NULL && access(folder, W_OK | X_OK) == 0) {
            return folder;
        }
    }
    return access("/var/tmp", W_OK | X_OK) == 0 ? "/var/tmp" : "/tmp";
}

/* The file loses its name at once, so that nothing is left whatever happens to this process. */
static aur_status open_file(auri_spool *spool, aur_error *error) {
    static atomic_uint_least64_t files;
    char name[AUR_FILE_NAME_BYTES_MAX];
    if (spool->file != NULL) {
        return AUR_OK;
    }
    (void)snprintf(name, sizeof name, "aurora-spool-%ld-%llu", (long)getpid(),
                   (unsigned long long)atomic_fetch_add(&files, 1));
    aur_status status = spool->disk != NULL
                            ? AUR_OK
                            : aur_disk_open_posix(temporary_folder(), false, &spool->disk, error);
    if (status == AUR_OK) {
        status = aur_disk_open_file(spool->disk, name, AUR_FILE_WRITE | AUR_FILE_READ, &spool->file,
                                    error);
    }
    if (status == AUR_OK) {
        status = aur_disk_remove(spool->disk, name, error);
    }
    if (status != AUR_OK) {
        close_file(spool);
        return status < AUR_OK ? status
                               : aur_fail(error, AUR_ERR_IO,
                                          "no folder for temporary files: set "
                                          "TMPDIR");
    }
    return AUR_OK;
}

/* The part of a range that lies in one chunk, or in the file. */
typedef struct part {
    size_t chunk; /* AURI_SPOOL_CHUNKS: the file */
    size_t from;
    size_t length;
} part;

static part part_at(uint64_t offset, size_t length) {
    if (offset >= memory_bytes) {
        return (part){AURI_SPOOL_CHUNKS, 0, length};
    }
    part at = {(size_t)(offset / AURI_SPOOL_CHUNK_BYTES), (size_t)(offset % AURI_SPOOL_CHUNK_BYTES),
               length};
    if (length > AURI_SPOOL_CHUNK_BYTES - at.from) {
        at.length = AURI_SPOOL_CHUNK_BYTES - at.from;
    }
    return at;
}

static bool make_chunks(auri_spool *spool, size_t wanted) {
    for (size_t at = 0; at <= wanted; at++) {
        if (spool->chunk[at] == NULL) {
            spool->chunk[at] = malloc(AURI_SPOOL_CHUNK_BYTES);
            if (spool->chunk[at] == NULL) {
                return false;
            }
        }
    }
    return true;
}

aur_status auri_spool_write(auri_spool *spool, uint64_t offset, const void *bytes, size_t length,
                            aur_error *error) {
    const uint8_t *from = bytes;
    aur_status status = AUR_OK;
    while (length > 0 && status == AUR_OK) {
        const part at = part_at(offset, length);
        if (at.chunk == AURI_SPOOL_CHUNKS) {
            status = open_file(spool, error);
            if (status == AUR_OK) {
                status = aur_file_write(spool->file, offset - memory_bytes, from, length, error);
            }
        } else if (spool->chunk[at.chunk] != NULL || make_chunks(spool, at.chunk)) {
            memcpy(spool->chunk[at.chunk] + at.from, from, at.length);
        } else {
            return aur_fail(error, AUR_ERR_MEMORY, "no memory for a transaction's changes");
        }
        offset += at.length;
        from += at.length;
        length -= at.length;
    }
    if (status == AUR_OK && offset > spool->size) {
        spool->size = offset;
    }
    return status;
}

aur_status auri_spool_read(auri_spool *spool, uint64_t offset, void *out, size_t length,
                           aur_error *error) {
    uint8_t *to = out;
    while (length > 0) {
        const part at = part_at(offset, length);
        if (at.chunk == AURI_SPOOL_CHUNKS) {
            size_t got = 0;
            const aur_status status =
                spool->file == NULL
                    ? AUR_OK
                    : aur_file_read(spool->file, offset - memory_bytes, to, length, &got, error);
            if (status != AUR_OK) {
                return status;
            }
            memset(to + got, 0, length - got); /* a hole */
        } else if (spool->chunk[at.chunk] != NULL) {
            memcpy(to, spool->chunk[at.chunk] + at.from, at.length);
        } else {
            memset(to, 0, at.length);
        }
        offset += at.length;
        to += at.length;
        length -= at.length;
    }
    return AUR_OK;
}

const uint8_t *auri_spool_peek(const auri_spool *spool, uint64_t offset, size_t length) {
    const part at = part_at(offset, length);
    const bool is_whole = at.chunk < AURI_SPOOL_CHUNKS && at.length == length;
    return is_whole && spool->chunk[at.chunk] != NULL ? spool->chunk[at.chunk] + at.from : NULL;
}
