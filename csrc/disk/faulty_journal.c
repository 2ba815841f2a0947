/* What a faulty disk holds back: writes that reached the operating system, so to speak, but not the
 * medium. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disk/faulty_private.h"

auri_journal *auri_faulty_journal_create(const char *name, bool entry_durable) {
    auri_journal *journal = calloc(1, sizeof *journal);
    if (journal != NULL) {
        journal->entry_durable = entry_durable;
        journal->last = &journal->first;
        (void)snprintf(journal->name, sizeof journal->name, "%s", name);
    }
    return journal;
}

static void forget_pending(auri_journal *journal) {
    while (journal->first != NULL) {
        auri_pending *pending = journal->first;
        journal->first = pending->next;
        free(pending);
    }
    journal->last = &journal->first;
}

static void take_off_list(auri_faulty_disk *disk, auri_journal *journal) {
    auri_journal **place = &disk->journals;
    while (*place != NULL && *place != journal) {
        place = &(*place)->next;
    }
    if (*place != NULL) {
        *place = journal->next;
    }
    journal->linked = false;
}

void auri_faulty_journal_release(auri_faulty_disk *disk, auri_journal *journal) {
    if (journal->handles > 0) {
        return;
    }
    if (journal->linked) {
        if (journal->first != NULL || !journal->entry_durable) {
            return;
        }
        take_off_list(disk, journal);
    }
    forget_pending(journal);
    free(journal);
}

auri_journal *auri_faulty_journal_find(const auri_faulty_disk *disk, const char *name) {
    auri_journal *journal = disk->journals;
    while (journal != NULL && strcmp(journal->name, name) != 0) {
        journal = journal->next;
    }
    return journal;
}

void auri_faulty_journal_link(auri_faulty_disk *disk, auri_journal *journal) {
    journal->linked = true;
    journal->next = disk->journals;
    disk->journals = journal;
}

void auri_faulty_journal_unlink(auri_faulty_disk *disk, const char *name) {
    auri_journal *journal = auri_faulty_journal_find(disk, name);
    if (journal != NULL) {
        take_off_list(disk, journal);
        auri_faulty_journal_release(disk, journal);
    }
}

aur_status auri_faulty_journal_add(auri_journal *journal, uint64_t offset, const void *bytes,
                                   size_t length) {
    auri_pending *pending = malloc(sizeof *pending + length);
    if (pending == NULL) {
        return AUR_ERR_MEMORY;
    }
    pending->next = NULL;
    pending->offset = offset;
    pending->length = length;
    memcpy(pending->bytes, bytes, length);
    *journal->last = pending;
    journal->last = &pending->next;
    return AUR_OK;
}

uint64_t auri_faulty_journal_end(const auri_journal *journal) {
    uint64_t end = 0;
    for (const auri_pending *pending = journal->first; pending != NULL; pending = pending->next) {
        if (pending->offset + pending->length > end) {
            end = pending->offset + pending->length;
        }
    }
    return end;
}

void auri_faulty_journal_overlay(const auri_journal *journal, uint64_t offset, uint8_t *buffer,
                                 size_t length) {
    const uint64_t end = offset + length;
    for (const auri_pending *pending = journal->first; pending != NULL; pending = pending->next) {
        const uint64_t pending_end = pending->offset + pending->length;
        const uint64_t from = pending->offset > offset ? pending->offset : offset;
        const uint64_t to = pending_end < end ? pending_end : end;
        if (from < to) {
            memcpy(buffer + (from - offset), pending->bytes + (from - pending->offset),
                   (size_t)(to - from));
        }
    }
}

static aur_status write_inner(void *context, uint64_t offset, const void *bytes, size_t length) {
    return aur_file_write(context, offset, bytes, length, NULL);
}

aur_status auri_faulty_journal_settle(auri_journal *journal, aur_file *inner, aur_random *random) {
    aur_status status = AUR_OK;
    const auri_pending *pending = journal->first;
    for (; pending != NULL && status == AUR_OK; pending = pending->next) {
        if (random == NULL) {
            status = write_inner(inner, pending->offset, pending->bytes, pending->length);
        } else {
            status = auri_tear(random, pending->offset, pending->bytes, pending->length,
                               write_inner, inner);
        }
    }
    forget_pending(journal);
    return status;
}

enum fate { FATE_KEPT, FATE_LOST, FATE_PREFIX, FATE_SCATTERED, FATE_COUNT };

aur_status auri_tear(aur_random *random, uint64_t offset, const void *bytes, size_t length,
                     auri_sink *sink, void *context) {
    const enum fate fate = (enum fate)aur_random_below(random, FATE_COUNT);
    const uint64_t prefix_bytes = aur_random_below(random, length + 1);
    aur_status status = AUR_OK;
    size_t done = 0;
    while (done < length && status == AUR_OK) {
        const size_t to_boundary =
            AURI_SECTOR_BYTES - (size_t)((offset + done) % AURI_SECTOR_BYTES);
        const size_t part = length - done < to_boundary ? length - done : to_boundary;
        const bool survives = fate == FATE_KEPT ||
                              (fate == FATE_PREFIX && done + part <= prefix_bytes) ||
                              (fate == FATE_SCATTERED && aur_random_below(random, 2) == 0);
        if (survives) {
            status = sink(context, offset + done, (const uint8_t *)bytes + done, part);
        }
        done += part;
    }
    return status;
}
