/*
 * Crashes of the faulty disk against a model of what may be left: per sector, what was durable
 * overlaid by any subset of the writes that were not; an operation on names that was cut short,
 * done or not. Whatever the model allows is allowed to happen to the engine above, so nothing else
 * may.
 */
#include "harness.h"

#include "disk/faulty.h"

enum {
    FILE_COUNT = 3,
    FILE_BYTES = 16384,
    SECTOR_BYTES = 512,
    PENDING_COUNT = 8,
    WRITE_BYTES = 4096,
    ROUND_COUNT = 400,
    OPERATIONS_PER_ROUND = 40,
};

static const char *const names[FILE_COUNT] = {"one", "two", "three"};

typedef struct pending_write {
    uint64_t offset;
    size_t length;
    uint8_t bytes[WRITE_BYTES];
} pending_write;

typedef struct model_file {
    bool present;
    bool entry_durable;
    uint64_t smallest_bytes; /* below size_bytes only for a create that was cut short */
    uint64_t size_bytes;
    uint8_t durable[FILE_BYTES]; /* zero from size_bytes on */
    unsigned pending_count;
    pending_write pending[PENDING_COUNT];
} model_file;

typedef struct world {
    model_file files[FILE_COUNT];
} world;

typedef struct found_file {
    bool present;
    uint64_t size_bytes;
    uint8_t bytes[FILE_BYTES];
} found_file;

/* ---- the model ---- */

static uint64_t largest_bytes(const model_file *file) {
    uint64_t size_bytes = file->size_bytes;
    for (unsigned at = 0; at < file->pending_count; at++) {
        const uint64_t end = file->pending[at].offset + file->pending[at].length;
        size_bytes = end > size_bytes ? end : size_bytes;
    }
    return size_bytes;
}

static void overlay(const pending_write *pending, uint64_t from, uint64_t to, uint8_t *sector) {
    for (uint64_t at = from; at < to; at++) {
        if (at >= pending->offset && at < pending->offset + pending->length)
            sector[at - from] = pending->bytes[at - pending->offset];
    }
}

/* Makes everything pending durable. */
static void settle(model_file *file) {
    const uint64_t size_bytes = largest_bytes(file);
    for (unsigned at = 0; at < file->pending_count; at++)
        overlay(&file->pending[at], 0, FILE_BYTES, file->durable);
    file->size_bytes = size_bytes;
    file->smallest_bytes = size_bytes;
    file->pending_count = 0;
}

static bool sector_is_allowed(const model_file *file, const found_file *found, uint64_t from) {
    const uint64_t limit = from + SECTOR_BYTES;
    const uint64_t to = limit < found->size_bytes ? limit : found->size_bytes;
    for (unsigned subset = 0; subset < 1u << file->pending_count; subset++) {
        uint8_t sector[SECTOR_BYTES];
        memcpy(sector, file->durable + from, SECTOR_BYTES);
        for (unsigned at = 0; at < file->pending_count; at++) {
            if ((subset >> at & 1u) != 0)
                overlay(&file->pending[at], from, limit, sector);
        }
        if (memcmp(sector, found->bytes + from, (size_t)(to - from)) == 0)
            return true;
    }
    return false;
}

static bool file_is_allowed(const model_file *file, const found_file *found) {
    if (!found->present)
        return !file->present || !file->entry_durable;
    if (!file->present || found->size_bytes < file->smallest_bytes ||
        found->size_bytes > largest_bytes(file))
        return false;
    for (uint64_t from = 0; from < found->size_bytes; from += SECTOR_BYTES) {
        if (!sector_is_allowed(file, found, from))
            return false;
    }
    return true;
}

static bool world_is_allowed(const world *model, const found_file *found) {
    for (unsigned at = 0; at < FILE_COUNT; at++) {
        if (!file_is_allowed(&model->files[at], &found[at]))
            return false;
    }
    return true;
}

/* ---- the disk ---- */

static void look(aur_disk *disk, found_file *found) {
    memset(found, 0, sizeof *found * FILE_COUNT);
    for (unsigned at = 0; at < FILE_COUNT; at++) {
        aur_file *file = NULL;
        size_t count = 0;
        const aur_status status = aur_disk_open_file(disk, names[at], AUR_FILE_READ, &file, NULL);
        if (status == AUR_NOT_FOUND)
            continue;
        CHECK_OK(status);
        found[at].present = true;
        CHECK_OK(aur_file_size(file, &found[at].size_bytes, NULL));
        CHECK_LE_U64(found[at].size_bytes, FILE_BYTES);
        CHECK_OK(aur_file_read(file, 0, found[at].bytes, FILE_BYTES, &count, NULL));
        CHECK_EQ_U64(count, found[at].size_bytes);
        aur_file_close(file);
    }
}

/* What was found after a crash is durable from then on. */
static void adopt(world *model, const found_file *found) {
    memset(model, 0, sizeof *model);
    for (unsigned at = 0; at < FILE_COUNT; at++) {
        model_file *file = &model->files[at];
        file->present = found[at].present;
        file->entry_durable = true;
        file->size_bytes = found[at].size_bytes;
        file->smallest_bytes = found[at].size_bytes;
        memcpy(file->durable, found[at].bytes, FILE_BYTES);
    }
}

static void start_file(model_file *file, uint64_t size_bytes, const uint8_t *bytes, bool durable) {
    memset(file, 0, sizeof *file);
    file->present = true;
    file->entry_durable = durable;
    file->size_bytes = size_bytes;
    file->smallest_bytes = size_bytes;
    if (bytes != NULL)
        memcpy(file->durable, bytes, (size_t)size_bytes);
}

/* Each step does one operation on the disk and makes `after` the model of its success. It returns
 * the disk's status. */

static aur_status write_step(aur_disk *disk, unsigned name, bool durable, world *after) {
    static _Alignas(AUR_DISK_BLOCK_BYTES) uint8_t bytes[WRITE_BYTES];
    model_file *model = &after->files[name];
    aur_file *file = NULL;
    uint64_t offset = random_below(FILE_BYTES - WRITE_BYTES);
    size_t length = 1 + (size_t)random_below(WRITE_BYTES);
    if (durable) {
        offset -= offset % AUR_DISK_BLOCK_BYTES;
        length = WRITE_BYTES;
    }
    const unsigned mode = AUR_FILE_READ | (durable ? AUR_FILE_DURABLE : AUR_FILE_WRITE);
    if (aur_disk_open_file(disk, names[name], mode, &file, NULL) == AUR_NOT_FOUND) {
        CHECK(durable && !model->present);
        return AUR_OK;
    }
    if (!model->present)
        start_file(model, 0, NULL, false);
    if (durable || model->pending_count == PENDING_COUNT) {
        /* A durable write takes along what was written before it. */
        const aur_status status = aur_file_sync(file, NULL);
        if (status != AUR_OK) {
            aur_file_close(file);
            return status;
        }
        settle(model);
    }
    random_bytes(bytes, length);
    const aur_status status = aur_file_write(file, offset, bytes, length, NULL);
    aur_file_close(file);
    pending_write *pending = &model->pending[model->pending_count++];
    pending->offset = offset;
    pending->length = length;
    memcpy(pending->bytes, bytes, length);
    if (status == AUR_OK && durable)
        settle(model);
    return status;
}

static aur_status sync_step(aur_disk *disk, unsigned name, world *after) {
    aur_file *file = NULL;
    if (!after->files[name].present)
        return AUR_OK;
    CHECK_OK(aur_disk_open_file(disk, names[name], AUR_FILE_READ | AUR_FILE_WRITE, &file, NULL));
    const aur_status status = aur_file_sync(file, NULL);
    aur_file_close(file);
    if (status == AUR_OK)
        settle(&after->files[name]);
    return status;
}

static aur_status create_step(aur_disk *disk, unsigned name, world *after) {
    const uint64_t size_bytes = random_below(FILE_BYTES);
    const aur_status status = aur_disk_create(disk, names[name], size_bytes, NULL);
    start_file(&after->files[name], size_bytes, NULL, true);
    after->files[name].smallest_bytes = status == AUR_OK ? size_bytes : 0;
    return status;
}

static aur_status replace_step(aur_disk *disk, unsigned name, world *after) {
    uint8_t bytes[FILE_BYTES];
    const size_t length = (size_t)random_below(FILE_BYTES);
    random_bytes(bytes, length);
    start_file(&after->files[name], length, bytes, true);
    return aur_disk_replace(disk, names[name], bytes, length, NULL);
}

static aur_status rename_step(aur_disk *disk, unsigned from, unsigned to, world *after) {
    const aur_status status = aur_disk_rename(disk, names[from], names[to], NULL);
    if (!after->files[from].present)
        return status == AUR_NOT_FOUND ? AUR_OK : status;
    after->files[from].entry_durable = true;
    if (from != to) {
        after->files[to] = after->files[from];
        memset(&after->files[from], 0, sizeof after->files[from]);
    }
    return status;
}

static aur_status remove_step(aur_disk *disk, unsigned name, world *after) {
    const aur_status status = aur_disk_remove(disk, names[name], NULL);
    const bool present = after->files[name].present;
    memset(&after->files[name], 0, sizeof after->files[name]);
    return !present && status == AUR_NOT_FOUND ? AUR_OK : status;
}

static aur_status sync_directory_step(aur_disk *disk, world *after) {
    for (unsigned at = 0; at < FILE_COUNT; at++)
        after->files[at].entry_durable = true;
    return aur_disk_sync_directory(disk, NULL);
}

static aur_status random_step(aur_disk *disk, world *after) {
    const unsigned name = (unsigned)random_below(FILE_COUNT);
    switch (random_below(12)) {
    case 0:
        return create_step(disk, name, after);
    case 1:
        return replace_step(disk, name, after);
    case 2:
        return rename_step(disk, name, (unsigned)random_below(FILE_COUNT), after);
    case 3:
        return remove_step(disk, name, after);
    case 4:
        return sync_directory_step(disk, after);
    case 5:
    case 6:
        return sync_step(disk, name, after);
    case 7:
    case 8:
        return write_step(disk, name, true, after);
    default:
        return write_step(disk, name, false, after);
    }
}

static aur_disk *open_faulty(uint64_t seed) {
    aur_disk *inner = NULL;
    aur_disk *disk = NULL;
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, seed, &disk));
    return disk;
}

/* Works until the disk crashes; *before and *after are the two models of the operation it crashed
 * in. */
static void work_until_crash(aur_disk *disk, world *before, world *after) {
    aur_faulty_crash_after(disk, random_below(OPERATIONS_PER_ROUND));
    for (;;) {
        *before = *after;
        const aur_status status = random_step(disk, after);
        if (status != AUR_OK) {
            CHECK_STATUS(status, AUR_ERR_IO);
            return;
        }
        if (random_below(4 * OPERATIONS_PER_ROUND) == 0) {
            *before = *after;
            aur_faulty_crash(disk);
            return;
        }
    }
}

TEST(a_crash_leaves_only_what_it_may) {
    static world before;
    static world after;
    static found_file found[FILE_COUNT];
    aur_disk *disk = open_faulty(random_u64());
    memset(&after, 0, sizeof after);
    for (unsigned round = 0; round < ROUND_COUNT; round++) {
        work_until_crash(disk, &before, &after);
        CHECK_STATUS(aur_disk_sync_directory(disk, NULL), AUR_ERR_IO);
        aur_faulty_recover(disk);
        look(disk, found);
        CHECK_MSG(world_is_allowed(&before, found) || world_is_allowed(&after, found),
                  "round %u: the crash left what neither model allows", round);
        adopt(&after, found);
    }
    aur_disk_close(disk);
}

/* What is left of a disk after some crashes, everything from one seed. */
static void crash_repeatedly(uint64_t seed, found_file *found) {
    static world before;
    static world after;
    aur_disk *disk = open_faulty(seed);
    harness.random = seed;
    memset(&after, 0, sizeof after);
    for (unsigned round = 0; round < 10; round++) {
        work_until_crash(disk, &before, &after);
        aur_faulty_recover(disk);
        look(disk, found);
        adopt(&after, found);
    }
    aur_disk_close(disk);
}

TEST(a_seed_replays_exactly) {
    static found_file first[FILE_COUNT];
    static found_file second[FILE_COUNT];
    const uint64_t seed = random_u64();
    crash_repeatedly(seed, first);
    crash_repeatedly(seed, second);
    for (unsigned name = 0; name < FILE_COUNT; name++) {
        CHECK(first[name].present == second[name].present);
        CHECK_EQ_U64(first[name].size_bytes, second[name].size_bytes);
        CHECK_EQ_MEM(first[name].bytes, second[name].bytes, FILE_BYTES);
    }
}

/* Writes two sectors over zeros without a sync, crashes, and says which of them survived (a bit
 * each). */
static unsigned crash_one_write(aur_disk *disk, aur_file **old_out) {
    uint8_t bytes[2 * SECTOR_BYTES];
    size_t count = 0;
    aur_file *file = NULL;
    memset(bytes, 'x', sizeof bytes);
    CHECK_OK(aur_disk_create(disk, "f", sizeof bytes, NULL));
    CHECK_OK(aur_disk_open_file(disk, "f", AUR_FILE_READ | AUR_FILE_WRITE, old_out, NULL));
    CHECK_OK(aur_file_write(*old_out, 0, bytes, sizeof bytes, NULL));
    aur_faulty_crash(disk);
    aur_faulty_recover(disk);
    CHECK_OK(aur_disk_open_file(disk, "f", AUR_FILE_READ, &file, NULL));
    CHECK_OK(aur_file_read(file, 0, bytes, sizeof bytes, &count, NULL));
    CHECK_EQ_U64(count, sizeof bytes);
    aur_file_close(file);
    return (bytes[0] == 'x' ? 1u : 0u) | (bytes[SECTOR_BYTES] == 'x' ? 2u : 0u);
}

TEST(every_kind_of_loss_happens_and_old_handles_stay_dead) {
    bool seen[4] = {false};
    /* The rarest outcome has a chance of 1 in 16, so that missing it 400 times does not happen. */
    for (unsigned round = 0; round < 400; round++) {
        aur_disk *disk = open_faulty(random_u64());
        aur_file *old = NULL;
        uint8_t byte = 0;
        size_t count = 0;
        seen[crash_one_write(disk, &old)] = true;
        CHECK_STATUS(aur_file_read(old, 0, &byte, 1, &count, NULL), AUR_ERR_IO);
        CHECK_STATUS(aur_file_write(old, 0, &byte, 1, NULL), AUR_ERR_IO);
        CHECK_STATUS(aur_file_sync(old, NULL), AUR_ERR_IO);
        CHECK_STATUS(aur_file_check(old, 0, NULL), AUR_ERR_IO);
        aur_file_close(old);
        aur_disk_close(disk);
    }
    CHECK(seen[0] && seen[1] && seen[2] && seen[3]);
}
