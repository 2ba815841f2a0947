#include "sql/super.h"

#include <stdlib.h>
#include <string.h>

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

void auri_super_remove(aur_sql *sql, const auri_super *super) {
    (void)pthread_mutex_lock(&sql->lock);
    auri_super **link = &sql->supers;
    while (*link != NULL && *link != super) {
        link = &(*link)->next;
    }
    auri_super *found = *link;
    if (found != NULL) {
        *link = found->next;
    }
    (void)pthread_mutex_unlock(&sql->lock);
    free(found);
}

/* The connections whose changes it commits, all of one connection of SQLite's. *writing_out: how
 * many of that one's files may write at all, those included that have changed nothing. */
static uint32_t list_members(aur_sql *sql, const auri_super *super,
                             aur_sql_connection *members[MEMBERS_MAX], uint32_t *writing_out) {
    uint32_t count = 0;
    *writing_out = 0;
    (void)pthread_mutex_lock(&sql->lock);
    for (aur_sql_connection *at = sql->connections; at != NULL; at = at->next) {
        if (at->super == super && at->lock == AURI_SQL_RESERVED && count < MEMBERS_MAX) {
            members[count++] = at;
        }
    }
    for (aur_sql_connection *at = sql->connections; at != NULL && count > 0; at = at->next) {
        *writing_out += at->sqlite == members[0]->sqlite && at->lock == AURI_SQL_RESERVED;
    }
    (void)pthread_mutex_unlock(&sql->lock);
    return count;
}

aur_status auri_super_commit(aur_sql *sql, const auri_super *super, aur_sql_connection **member_out,
                             aur_error *error) {
    aur_sql_connection *members[MEMBERS_MAX];
    uint32_t writing;
    const uint32_t count = list_members(sql, super, members, &writing);
    bool waits = false;
    aur_lsn lsn = 0;
    *member_out = count > 0 ? members[0] : NULL;
    if (count == 0) {
        return AUR_OK; /* nothing here has changed */
    }
    if (writing != super->members) {
        return aur_fail(error, AUR_ERR_INVALID,
                        "a transaction writes in one volume only, and in no other file; this one "
                        "would write %u files, of which %u are here",
                        super->members, writing);
    }
    aur_status status = auri_connections_commit(members, count, &lsn, error);
    for (uint32_t at = 0; at < count; at++) {
        waits = waits || members[at]->waits;
    }
    if (status == AUR_OK && lsn != 0 && waits) {
        status = auri_connection_wait(members[0], lsn, error);
        for (uint32_t at = 0; at < count && status != AUR_OK; at++) {
            members[at]->in_doubt = lsn;
            members[at]->version.commit = AURI_VERSION_UNKNOWN;
        }
    }
    return status;
}
