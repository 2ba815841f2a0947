/*
 * A disk in memory, with the semantics of the POSIX one: a removed or replaced file lives on for
 * those who have it open, and aur_file_check tells them. For tests and the simulator; nothing
 * outlives the handle.
 *
 * Thread rule: one mutex of the disk guards its files and their content.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/disk_private.h"

/* The content of a file, apart from its name: an inode. Freed with its last link or handle. */
typedef struct memory_node {
    struct memory_node *next; /* in the disk's list while linked */
    unsigned handles;
    bool linked;
    uint8_t *bytes;
    size_t size_bytes;
    size_t capacity_bytes;
    char name[AUR_FILE_NAME_BYTES_MAX + 1];
} memory_node;

typedef struct memory_disk {
    aur_disk base;
    pthread_mutex_t lock;
    memory_node *first; /* linked nodes, in no order */
} memory_disk;

typedef struct memory_file {
    aur_file base;
    memory_disk *disk;
    memory_node *node;
} memory_file;

static memory_node *create_node(const char *name) {
    memory_node *node = calloc(1, sizeof *node);
    if (node != NULL) {
        (void)snprintf(node->name, sizeof node->name, "%s", name);
    }
    return node;
}

/* Frees a node that neither the directory nor a handle needs. Lock held. */
static void release_node(memory_node *node) {
    if (!node->linked && node->handles == 0) {
        free(node->bytes);
        free(node);
    }
}

static memory_node *find_node(const memory_disk *disk, const char *name) {
    memory_node *node = disk->first;
    while (node != NULL && strcmp(node->name, name) != 0) {
        node = node->next;
    }
    return node;
}

static void link_node(memory_disk *disk, memory_node *node) {
    node->linked = true;
    node->next = disk->first;
    disk->first = node;
}

/* Removes the name, and with it the content unless it is open. Nothing happens when there is none.
 */
static bool unlink_name(memory_disk *disk, const char *name) {
    memory_node **place = &disk->first;
    while (*place != NULL && strcmp((*place)->name, name) != 0) {
        place = &(*place)->next;
    }
    memory_node *node = *place;
    if (node == NULL) {
        return false;
    }
    *place = node->next;
    node->linked = false;
    release_node(node);
    return true;
}

/* Makes room for `size_bytes`, the new part zero. False when out of memory. */
static bool grow_node(memory_node *node, uint64_t size_bytes) {
    if (size_bytes > SIZE_MAX / 2) {
        return false;
    }
    if (size_bytes > node->capacity_bytes) {
        const size_t doubled = node->capacity_bytes * 2;
        const size_t capacity = (size_t)size_bytes > doubled ? (size_t)size_bytes : doubled;
        uint8_t *bytes = realloc(node->bytes, capacity);
        if (bytes == NULL) {
            return false;
        }
        memset(bytes + node->capacity_bytes, 0, capacity - node->capacity_bytes);
        node->bytes = bytes;
        node->capacity_bytes = capacity;
    }
    if (size_bytes > node->size_bytes) {
        node->size_bytes = (size_t)size_bytes;
    }
    return true;
}

static void memory_file_close(aur_file *base) {
    memory_file *file = (memory_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    file->node->handles--;
    release_node(file->node);
    pthread_mutex_unlock(&file->disk->lock);
    free(file);
}

static aur_status memory_file_read(aur_file *base, uint64_t offset, void *buffer, size_t length,
                                   size_t *read_out, aur_error *error) {
    const memory_file *file = (const memory_file *)base;
    const memory_node *node = file->node;
    (void)error;
    pthread_mutex_lock(&file->disk->lock);
    if (offset < node->size_bytes && length > 0) {
        const size_t left = node->size_bytes - (size_t)offset;
        *read_out = length < left ? length : left;
        memcpy(buffer, node->bytes + offset, *read_out);
    }
    pthread_mutex_unlock(&file->disk->lock);
    return AUR_OK;
}

static aur_status memory_file_write(aur_file *base, uint64_t offset, const void *buffer,
                                    size_t length, aur_error *error) {
    const memory_file *file = (const memory_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    const bool fits = grow_node(file->node, offset + length);
    if (fits) {
        memcpy(file->node->bytes + offset, buffer, length);
    }
    pthread_mutex_unlock(&file->disk->lock);
    return fits ? AUR_OK : auri_file_fail(base, offset, ENOSPC, "write", error);
}

static aur_status memory_file_sync(aur_file *base, aur_error *error) {
    (void)base;
    (void)error;
    return AUR_OK;
}

static aur_status memory_file_size(aur_file *base, uint64_t *size_out, aur_error *error) {
    const memory_file *file = (const memory_file *)base;
    (void)error;
    pthread_mutex_lock(&file->disk->lock);
    *size_out = file->node->size_bytes;
    pthread_mutex_unlock(&file->disk->lock);
    return AUR_OK;
}

static aur_status memory_file_check(aur_file *base, uint64_t size_bytes, aur_error *error) {
    const memory_file *file = (const memory_file *)base;
    pthread_mutex_lock(&file->disk->lock);
    const bool linked = file->node->linked;
    const uint64_t actual_bytes = file->node->size_bytes;
    pthread_mutex_unlock(&file->disk->lock);
    return auri_file_judge(base, linked, actual_bytes, size_bytes, error);
}

static int memory_file_descriptor(aur_file *base) {
    (void)base;
    return -1;
}

static const auri_file_operations memory_file_operations = {
    .close = memory_file_close,
    .read = memory_file_read,
    .write = memory_file_write,
    .sync = memory_file_sync,
    .size = memory_file_size,
    .check = memory_file_check,
    .descriptor = memory_file_descriptor,
};

static void memory_close(aur_disk *base) {
    memory_disk *disk = (memory_disk *)base;
    while (disk->first != NULL) {
        (void)unlink_name(disk, disk->first->name);
    }
    pthread_mutex_destroy(&disk->lock);
    auri_disk_clear(base);
    free(disk);
}

/* Puts a file of `size_bytes` (from `bytes`, or zeros when NULL) in the place of whatever had its
 * name. */
static aur_status put_file(memory_disk *disk, const char *name, const void *bytes,
                           uint64_t size_bytes, aur_error *error) {
    memory_node *node = create_node(name);
    if (node == NULL || !grow_node(node, size_bytes)) {
        free(node);
        return auri_disk_fail(&disk->base, name, ENOSPC, "create", error);
    }
    if (bytes != NULL && size_bytes > 0) {
        memcpy(node->bytes, bytes, node->size_bytes);
    }
    pthread_mutex_lock(&disk->lock);
    (void)unlink_name(disk, name);
    link_node(disk, node);
    pthread_mutex_unlock(&disk->lock);
    return AUR_OK;
}

static aur_status memory_create(aur_disk *base, const char *name, uint64_t size_bytes,
                                aur_error *error) {
    return put_file((memory_disk *)base, name, NULL, size_bytes, error);
}

static aur_status memory_replace(aur_disk *base, const char *name, const void *bytes, size_t length,
                                 aur_error *error) {
    return put_file((memory_disk *)base, name, bytes, length, error);
}

static aur_status memory_open_file(aur_disk *base, const char *name, unsigned mode,
                                   aur_file **file_out, aur_error *error) {
    memory_disk *disk = (memory_disk *)base;
    aur_status status = AUR_OK;
    memory_file *file = malloc(sizeof *file);
    if (file == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to open %s", name);
    }
    pthread_mutex_lock(&disk->lock);
    memory_node *node = find_node(disk, name);
    if (node == NULL && (mode & AUR_FILE_WRITE) != 0) {
        node = create_node(name);
        if (node != NULL) {
            link_node(disk, node);
        } else {
            status = aur_fail(error, AUR_ERR_MEMORY, "no memory to create %s", name);
        }
    } else if (node == NULL) {
        status = AUR_NOT_FOUND;
    }
    if (node != NULL) {
        node->handles++;
    }
    pthread_mutex_unlock(&disk->lock);
    if (status != AUR_OK) {
        free(file);
        return status;
    }
    auri_file_init(&file->base, &memory_file_operations, base, name, mode);
    file->disk = disk;
    file->node = node;
    *file_out = &file->base;
    return AUR_OK;
}

static aur_status memory_rename(aur_disk *base, const char *from, const char *to,
                                aur_error *error) {
    memory_disk *disk = (memory_disk *)base;
    (void)error;
    pthread_mutex_lock(&disk->lock);
    memory_node *node = find_node(disk, from);
    if (node != NULL && strcmp(from, to) != 0) {
        (void)unlink_name(disk, to);
        (void)snprintf(node->name, sizeof node->name, "%s", to);
    }
    pthread_mutex_unlock(&disk->lock);
    return node != NULL ? AUR_OK : AUR_NOT_FOUND;
}

static aur_status memory_remove(aur_disk *base, const char *name, aur_error *error) {
    memory_disk *disk = (memory_disk *)base;
    (void)error;
    pthread_mutex_lock(&disk->lock);
    const bool found = unlink_name(disk, name);
    pthread_mutex_unlock(&disk->lock);
    return found ? AUR_OK : AUR_NOT_FOUND;
}

static aur_status memory_sync_directory(aur_disk *base, aur_error *error) {
    (void)base;
    (void)error;
    return AUR_OK;
}

typedef struct memory_entry {
    uint64_t size_bytes;
    char name[AUR_FILE_NAME_BYTES_MAX + 1];
} memory_entry;

/* A copy of the directory: a visitor may use the disk, so it is not called under the lock. NULL: no
 * memory. */
static memory_entry *copy_entries(memory_disk *disk, size_t *count_out) {
    size_t count = 0;
    pthread_mutex_lock(&disk->lock);
    for (const memory_node *node = disk->first; node != NULL; node = node->next) {
        count++;
    }
    memory_entry *entries = calloc(count + 1, sizeof *entries);
    if (entries != NULL) {
        memory_entry *entry = entries;
        for (const memory_node *node = disk->first; node != NULL; node = node->next, entry++) {
            entry->size_bytes = node->size_bytes;
            memcpy(entry->name, node->name, sizeof entry->name);
        }
    }
    pthread_mutex_unlock(&disk->lock);
    *count_out = count;
    return entries;
}

static uint64_t memory_free_bytes(aur_disk *base) {
    (void)base;
    return UINT64_MAX;
}

static aur_status memory_list(aur_disk *base, auri_disk_visit *visit, void *context,
                              aur_error *error) {
    size_t count = 0;
    memory_entry *entries = copy_entries((memory_disk *)base, &count);
    if (entries == NULL) {
        return aur_fail(error, AUR_ERR_MEMORY, "no memory to list the files");
    }
    for (size_t at = 0; at < count; at++) {
        if (!visit(context, entries[at].name, entries[at].size_bytes)) {
            break;
        }
    }
    free(entries);
    return AUR_OK;
}

static const auri_disk_operations memory_operations = {
    .close = memory_close,
    .create = memory_create,
    .open_file = memory_open_file,
    .replace = memory_replace,
    .rename = memory_rename,
    .remove = memory_remove,
    .sync_directory = memory_sync_directory,
    .list = memory_list,
    .free_bytes = memory_free_bytes,
};

aur_status aur_disk_open_memory(aur_disk **disk_out) {
    memory_disk *disk = calloc(1, sizeof *disk);
    if (disk == NULL || !auri_disk_init(&disk->base, &memory_operations, "memory") ||
        pthread_mutex_init(&disk->lock, NULL) != 0) {
        if (disk != NULL) {
            auri_disk_clear(&disk->base);
        }
        free(disk);
        return AUR_ERR_MEMORY;
    }
    *disk_out = &disk->base;
    return AUR_OK;
}
