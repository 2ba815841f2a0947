/*
 * Every disk behaves the same: random operations on a POSIX directory, a disk in memory and a
 * faulty disk without faults give the same statuses, bytes, sizes and listings at each step.
 */
#include "harness.h"

#include "disk/faulty.h"

enum {
    DISK_COUNT = 3,
    NAME_COUNT = 5,
    HANDLE_COUNT = 6,
    STEP_COUNT = 4000,
    LARGEST_BYTES = 5 * AUR_DISK_BLOCK_BYTES,
};

static const char *const disk_labels[DISK_COUNT] = {"posix", "memory", "faulty"};

/* A name may hold any bytes but '/'. */
static const char *const names[NAME_COUNT] = {"plain", "with space", "\xc3\xa4\xc3\xb6", "\xff\x01",
                                              "x.y"};

typedef struct handle {
    aur_file *files[DISK_COUNT]; /* NULL when closed */
    unsigned mode;
} handle;

typedef struct fleet {
    aur_disk *disks[DISK_COUNT];
    handle handles[HANDLE_COUNT];
    uint8_t *bytes;             /* to write; block-aligned */
    uint8_t *reads[DISK_COUNT]; /* what each disk returned */
    unsigned step;
} fleet;

static const char *random_name(void) { return names[random_below(NAME_COUNT)]; }

/* Calls `expression` for every disk and checks that all statuses are the first one's. */
#define SAME_STATUS(fleet, what, expression)                                                       \
    do {                                                                                           \
        aur_status first_status = AUR_OK;                                                          \
        for (unsigned disk = 0; disk < DISK_COUNT; disk++) {                                       \
            const aur_status this_status = (expression);                                           \
            if (disk == 0)                                                                         \
                first_status = this_status;                                                        \
            CHECK_MSG(this_status == first_status, "step %u, %s: %d from posix, %d from %s",       \
                      (fleet)->step, what, first_status, this_status, disk_labels[disk]);          \
        }                                                                                          \
    } while (0)

static void open_fleet(fleet *all) {
    char path[600];
    aur_disk *inner = NULL;
    memset(all, 0, sizeof *all);
    CHECK_OK(aur_disk_open_posix(temp_path(path, sizeof path, "a b/\xc3\xa9/deep"), true,
                                 &all->disks[0], NULL));
    CHECK_OK(aur_disk_open_memory(&all->disks[1]));
    CHECK_OK(aur_disk_open_memory(&inner));
    CHECK_OK(aur_disk_open_faulty(inner, random_u64(), &all->disks[2]));
    all->bytes = aligned_alloc(AUR_DISK_BLOCK_BYTES, LARGEST_BYTES);
    CHECK(all->bytes != NULL);
    for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
        all->reads[disk] = malloc(LARGEST_BYTES);
        CHECK(all->reads[disk] != NULL);
    }
}

static void close_handle(handle *opened) {
    for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
        aur_file_close(opened->files[disk]);
        opened->files[disk] = NULL;
    }
}

static void close_fleet(fleet *all) {
    for (unsigned at = 0; at < HANDLE_COUNT; at++)
        close_handle(&all->handles[at]);
    for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
        aur_disk_close(all->disks[disk]);
        free(all->reads[disk]);
    }
    free(all->bytes);
}

static void open_step(fleet *all, handle *opened) {
    static const unsigned modes[] = {AUR_FILE_READ, AUR_FILE_READ | AUR_FILE_WRITE,
                                     AUR_FILE_READ | AUR_FILE_WRITE | AUR_FILE_UNCACHED,
                                     AUR_FILE_READ | AUR_FILE_DURABLE};
    const char *name = random_name();
    close_handle(opened);
    opened->mode = modes[random_below(4)];
    SAME_STATUS(
        all, "open",
        aur_disk_open_file(all->disks[disk], name, opened->mode, &opened->files[disk], NULL));
}

static void write_step(fleet *all, handle *opened) {
    uint64_t offset = random_below(LARGEST_BYTES);
    size_t length = (size_t)random_below(LARGEST_BYTES);
    if ((opened->mode & AUR_FILE_DURABLE) != 0 && random_below(20) != 0) {
        offset -= offset % AUR_DISK_BLOCK_BYTES;
        length -= length % AUR_DISK_BLOCK_BYTES;
    }
    /* Of any length: what is left behind the whole blocks goes another way. */
    if ((opened->mode & AUR_FILE_UNCACHED) != 0 && random_below(2) != 0)
        offset -= offset % AUR_DISK_BLOCK_BYTES;
    random_bytes(all->bytes, length);
    SAME_STATUS(all, "write",
                aur_file_write(opened->files[disk], offset, all->bytes, length, NULL));
}

static void read_step(fleet *all, handle *opened) {
    const uint64_t offset = random_below(2 * LARGEST_BYTES);
    const size_t length = (size_t)random_below(LARGEST_BYTES);
    size_t counts[DISK_COUNT] = {0};
    SAME_STATUS(
        all, "read",
        aur_file_read(opened->files[disk], offset, all->reads[disk], length, &counts[disk], NULL));
    for (unsigned disk = 1; disk < DISK_COUNT; disk++) {
        CHECK_EQ_U64(counts[disk], counts[0]);
        CHECK_EQ_MEM(all->reads[disk], all->reads[0], counts[0]);
    }
}

static void size_step(fleet *all, handle *opened) {
    uint64_t sizes[DISK_COUNT] = {0};
    const uint64_t expected_bytes = random_below(LARGEST_BYTES);
    SAME_STATUS(all, "size", aur_file_size(opened->files[disk], &sizes[disk], NULL));
    for (unsigned disk = 1; disk < DISK_COUNT; disk++)
        CHECK_EQ_U64(sizes[disk], sizes[0]);
    SAME_STATUS(all, "check", aur_file_check(opened->files[disk], expected_bytes, NULL));
    SAME_STATUS(all, "check of nothing", aur_file_check(opened->files[disk], 0, NULL));
}

static void handle_step(fleet *all) {
    handle *opened = &all->handles[random_below(HANDLE_COUNT)];
    const uint64_t choice = random_below(10);
    if (opened->files[0] == NULL || choice == 0)
        open_step(all, opened);
    else if (choice < 4)
        write_step(all, opened);
    else if (choice < 7)
        read_step(all, opened);
    else if (choice < 9)
        size_step(all, opened);
    else
        SAME_STATUS(all, "sync", aur_file_sync(opened->files[disk], NULL));
}

typedef struct listing {
    uint64_t size_bytes[NAME_COUNT];
    bool present[NAME_COUNT];
} listing;

static bool note_file(void *context, const char *name, uint64_t size_bytes) {
    listing *list = context;
    for (unsigned at = 0; at < NAME_COUNT; at++) {
        if (strcmp(name, names[at]) == 0) {
            CHECK(!list->present[at]);
            list->present[at] = true;
            list->size_bytes[at] = size_bytes;
            return true;
        }
    }
    FAIL("a file that nobody made: %s", name);
}

static void list_step(fleet *all) {
    listing lists[DISK_COUNT];
    memset(lists, 0, sizeof lists);
    SAME_STATUS(all, "list", aur_disk_list(all->disks[disk], note_file, &lists[disk], NULL));
    for (unsigned disk = 1; disk < DISK_COUNT; disk++) {
        for (unsigned at = 0; at < NAME_COUNT; at++) {
            CHECK(lists[disk].present[at] == lists[0].present[at]);
            CHECK_EQ_U64(lists[disk].size_bytes[at], lists[0].size_bytes[at]);
        }
    }
}

static void directory_step(fleet *all) {
    const char *name = random_name();
    const char *other = random_name();
    const uint64_t size_bytes = random_below(LARGEST_BYTES);
    switch (random_below(6)) {
    case 0:
        if (random_below(2) == 0)
            SAME_STATUS(all, "create", aur_disk_create(all->disks[disk], name, size_bytes, NULL));
        else
            SAME_STATUS(all, "reserve", aur_disk_reserve(all->disks[disk], name, size_bytes, NULL));
        break;
    case 1:
        random_bytes(all->bytes, (size_t)size_bytes);
        SAME_STATUS(all, "replace",
                    aur_disk_replace(all->disks[disk], name, all->bytes, (size_t)size_bytes, NULL));
        break;
    case 2:
        SAME_STATUS(all, "rename", aur_disk_rename(all->disks[disk], name, other, NULL));
        break;
    case 3:
        SAME_STATUS(all, "remove", aur_disk_remove(all->disks[disk], name, NULL));
        break;
    case 4:
        SAME_STATUS(all, "sync directory", aur_disk_sync_directory(all->disks[disk], NULL));
        break;
    default:
        list_step(all);
    }
}

TEST(all_disks_agree_on_random_operations) {
    fleet all;
    open_fleet(&all);
    for (all.step = 0; all.step < STEP_COUNT; all.step++) {
        if (random_below(5) == 0)
            directory_step(&all);
        else
            handle_step(&all);
    }
    close_fleet(&all);
}

TEST(misuse_is_refused_and_leaves_the_handle_alone) {
    static const char *const bad[] = {"", ".", "..", "a/b", "x.replacing"};
    char longest[AUR_FILE_NAME_BYTES_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    fleet all;
    open_fleet(&all);
    for (unsigned disk = 0; disk < DISK_COUNT; disk++) {
        aur_file *file = NULL;
        size_t count = 0;
        for (unsigned at = 0; at < sizeof bad / sizeof bad[0]; at++)
            CHECK_STATUS(aur_disk_create(all.disks[disk], bad[at], 0, NULL), AUR_ERR_INVALID);
        CHECK_STATUS(aur_disk_create(all.disks[disk], longest, 0, NULL), AUR_ERR_INVALID);
        CHECK_OK(aur_disk_create(all.disks[disk], longest + 1, 8192, NULL));
        CHECK_STATUS(aur_disk_open_file(all.disks[disk], "x", 0, &file, NULL), AUR_ERR_INVALID);
        CHECK_STATUS(aur_disk_open_file(all.disks[disk], "x", AUR_FILE_READ, &file, NULL),
                     AUR_NOT_FOUND);
        CHECK_OK(aur_disk_open_file(all.disks[disk], longest + 1, AUR_FILE_READ, &file, NULL));
        CHECK_STATUS(aur_file_write(file, 0, all.bytes, 1, NULL), AUR_ERR_READ_ONLY);
        CHECK_STATUS(aur_file_sync(file, NULL), AUR_ERR_READ_ONLY);
        CHECK_STATUS(aur_file_read(file, UINT64_MAX, all.bytes, 1, &count, NULL), AUR_ERR_INVALID);
        aur_file_close(file);
        CHECK_OK(aur_disk_open_file(all.disks[disk], longest + 1, AUR_FILE_READ | AUR_FILE_DURABLE,
                                    &file, NULL));
        CHECK_STATUS(aur_file_write(file, 0, all.bytes + 1, 4096, NULL), AUR_ERR_INVALID);
        CHECK_STATUS(aur_file_write(file, 0, all.bytes, 4095, NULL), AUR_ERR_INVALID);
        CHECK_OK(aur_file_write(file, 4096, all.bytes, 4096, NULL));
        aur_file_close(file);
    }
    close_fleet(&all);
}
