/* SPDX-License-Identifier: MIT */
/* The store: what is learned from leases that have ended. */
#include "daemon/history_store_inner.h"

#include <errno.h>

#define LABELS_MAX 500

int history_store_labels(struct history_store *store, history_label_function each, void *data)
{
    char label[HISTORY_TEXT_MAX], user[HISTORY_NAME_MAX];
    sqlite3_stmt *statement = history_prepare(
        store, "SELECT label, user FROM lease WHERE peak IS NOT NULL AND label IS NOT NULL"
               " GROUP BY label, user ORDER BY max(ended) DESC LIMIT ?1");
    int r = statement ? sqlite3_bind_int(statement, 1, LABELS_MAX)
                      : history_fail(store, store->failure);
    while (r >= 0 && (r = history_next(store, statement)) == 1) {
        history_column_text(statement, 0, label, sizeof(label));
        history_column_text(statement, 1, user, sizeof(user));
        each(data, label, user);
    }
    (void)sqlite3_finalize(statement);
    return r;
}

/* Event 7 is HISTORY_OOM_SUSPECTED, which is known only after the lease has ended: some seconds later at the most. */
_Static_assert(HISTORY_OOM_SUSPECTED == 7, "as the query says");

int history_store_runs(struct history_store *store, const char *label, const char *user,
                       struct need_run *ret_runs)
{
    sqlite3_stmt *statement = history_prepare(
        store, "SELECT peak, room, total, starved, steady FROM (SELECT peak, room, total, whole, "
               "steady, ended,"
               " EXISTS (SELECT 1 FROM event WHERE kind = 7 AND at >= granted"
               " AND at <= lease.ended + 10000 AND text = lease.label) AS starved FROM lease"
               " WHERE label = ?1 AND user = ?2 AND peak IS NOT NULL AND ended IS NOT NULL)"
               " WHERE whole OR starved ORDER BY ended DESC LIMIT ?3");
    int r = statement ? 0 : history_fail(store, store->failure), count = 0;
    if (statement) {
        history_bind_text(statement, 1, label);
        history_bind_text(statement, 2, user);
        (void)sqlite3_bind_int(statement, 3, NEED_RUNS_MAX);
    }
    while (r >= 0 && count < NEED_RUNS_MAX && (r = history_next(store, statement)) == 1) {
        ret_runs[count++] = (struct need_run){
            .peak_bytes = history_column_bytes(statement, 0),
            .room_bytes = history_column_bytes(statement, 1),
            .total_bytes = history_column_bytes(statement, 2),
            .whole = !sqlite3_column_int(statement, 3),
            .steady_bytes = history_column_bytes(statement, 4),
        };
    }
    (void)sqlite3_finalize(statement);
    return r < 0 ? r : count;
}

int history_store_forget(struct history_store *store, const char *label, const char *user)
{
    sqlite3_stmt *statement = history_prepare(
        store, "UPDATE lease SET peak = NULL, room = NULL, total = NULL, steady = NULL, whole = 0"
               " WHERE label = ?1 AND user = ?2 AND peak IS NOT NULL");
    if (!statement) {
        return history_fail(store, store->failure);
    }
    history_bind_text(statement, 1, label);
    history_bind_text(statement, 2, user);
    int r = history_next(store, statement);
    (void)sqlite3_finalize(statement);
    return r < 0 ? r : sqlite3_changes(store->db);
}
