#include "sql/super.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MEMBERS_MAX = 16 };

auri_super *auri_super_create(aur_sql *sql, const char *name) {
    const size_t bytes = strlen(name) + 1;
    auri_super *super = calloc(1, sizeof *super + bytes);
    if (super != NULL) {
        memcpy(super->name, name, bytes);
        (void)pthread_mutex_lock(&sql->lock);
        super->next = sql->supers;
        sql->supers = super;
        (void)pthread_mutex_unlock(&sql->lock);
    }
    return super;
}

auri_super *auri_super_find(aur_sql *sql, const char *name) {
    (void)pthread_mutex_lock(&sql->lock);
    auri_super *super = sql->supers;
    while (super != NULL && strcmp(super->name, name) != 0) {
        super = super->next;
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return super;
}

/* Locked. */
static void remove_unused(aur_sql *sql, auri_super *super) {
    const aur_sql_connection *at = sql->connections;
    auri_super **link = &sql->supers;
    while (at != NULL && at->super != super) {
        at = at->next;
    }
    if (at != NULL) {
        return;
    }
    while (*link != NULL && *link != super) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = super->next;
        free(super);
    }
}

void auri_super_leave(aur_sql *sql, auri_super *super, aur_sql_connection *member) {
    (void)pthread_mutex_lock(&sql->lock);
    if (member != NULL) {
        member->super = NULL;
    }
    remove_unused(sql, super);
    (void)pthread_mutex_unlock(&sql->lock);
}

/* ---- members ---- */

static bool is_journal_of(const auri_sql_database *database, const char *journal, size_t bytes) {
    static const char suffix[] = "-journal"; /* its end is written as well */
    return bytes == database->name_bytes + sizeof suffix &&
           memcmp(journal, database->name, database->name_bytes) == 0 &&
           memcmp(journal + database->name_bytes, suffix, sizeof suffix) == 0;
}

/* Whether SQLite has begun to change the database of a journal that lies in the file system: it
 * makes the journal with the first change. BEGIN IMMEDIATE alone locks all that is attached. Even
 * if nothing else is written: that journal would name a super-journal which no crash leaves behind.
 */
static bool is_written(const char *journal, size_t bytes) {
    struct stat facts;
    return bytes > 0 && journal[0] == '/' && journal[bytes - 1] == '\0' &&
           stat(journal, &facts) == 0 && facts.st_size > 0;
}

/* Who has the ticket of the database. Several may have one name, in several volumes: all that take
 * part are of one sqlite3. Locked. */
static aur_sql_connection *find_writer(const aur_sql *sql, const auri_super *super,
                                       const char *journal, size_t bytes) {
    aur_sql_connection *at = sql->connections;
    while (at != NULL && (!is_journal_of(at->database, journal, bytes) ||
                          !auri_ticket_is_held(&at->database->ticket, at))) {
        at = at->next;
    }
    const bool is_other = at != NULL && super->sqlite != NULL && at->sqlite != super->sqlite;
    return is_other ? NULL : at;
}

/* A database of another volume, which may have the name of one here, refuses by itself if it is
 * written. */
aur_status auri_super_claim(aur_sql *sql, auri_super *super, const char *journal, size_t bytes,
                            aur_error *error) {
    aur_status status = AUR_OK;
    (void)pthread_mutex_lock(&sql->lock);
    aur_sql_connection *writer = find_writer(sql, super, journal, bytes);
    if (writer != NULL && writer->super != super) {
        writer->super = super;
        super->sqlite = writer->sqlite;
        super->members++;
    } else if (is_written(journal, bytes)) {
        status =
            aur_fail(error, AUR_ERR_INVALID,
                     "a transaction writes in one volume only, and in no other file; this one "
                     "writes the file of %.200s: do that in one that was begun with plain BEGIN",
                     journal);
        for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
            if (at->super == super) {
                at->error = *error;
            }
        }
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return status;
}

/* The connections that depend on it, which are all of the calling thread. */
static uint32_t list_members(aur_sql *sql, const auri_super *super,
                             aur_sql_connection *members[MEMBERS_MAX]) {
    uint32_t count = 0;
    (void)pthread_mutex_lock(&sql->lock);
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        if (at->super == super && at->lock == AURI_SQL_RESERVED && count < MEMBERS_MAX) {
            members[count++] = at;
        }
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return count;
}

/* SQLite's caches are not what the volume holds. */
static void tell_failure(aur_sql_connection *const *members, uint32_t count, aur_lsn in_doubt,
                         const aur_error *error) {
    for (uint32_t at = 0; at < count; at++) {
        members[at]->error = *error;
        members[at]->in_doubt = in_doubt;
        members[at]->version.commit = AURI_VERSION_UNKNOWN;
        members[at]->has_failed = true;
    }
}

aur_status auri_super_commit(aur_sql *sql, const auri_super *super) {
    aur_sql_connection *members[MEMBERS_MAX];
    const uint32_t count = list_members(sql, super, members);
    const uint32_t expected = super->members;
    bool waits = false;
    aur_lsn lsn = 0;
    aur_error error;
    aur_error_clear(&error);
    aur_status status = count == expected
                            ? auri_connections_commit(members, count, &lsn, &error)
                            : aur_fail(&error, AUR_ERR_INVALID,
                                       "a transaction over %u databases has lost %u of them",
                                       expected, expected - count);
    if (status != AUR_OK) {
        tell_failure(members, count, 0, &error);
    }
    for (uint32_t at = 0; at < count; at++) {
        waits = waits || members[at]->waits;
    }
    if (status == AUR_OK && lsn != 0 && waits) {
        status = auri_connection_wait(members[0], lsn, &error);
        if (status != AUR_OK) {
            tell_failure(members, count, lsn, &error);
        }
    } else if (status == AUR_OK) {
        aur_log_ship(sql->options.log);
    }
    return status;
}
