// database_file.c: the database as a whole: counts, lists, copies, unions, checks.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "autotune/database_sql.h"
#include "base/check.h"
#include "base/io.h"

// ---- what is in it

DatabaseCounts database_counts(Database *db) {
    database_lock(db);
    sqlite3 *sql = db->sql;
    DatabaseCounts counts = {
        .devices = sql_number(sql, "SELECT count(*) FROM device"),
        .contexts = sql_number(sql, "SELECT count(*) FROM env"),
        .regions = sql_number(sql, "SELECT count(*) FROM region"),
        .trials = sql_number(sql, "SELECT count(*) FROM trial"),
        .good_trials = sql_number(sql, "SELECT count(*) FROM trial WHERE status = 'ok'"),
        .poisoned = sql_number(sql, "SELECT count(*) FROM poison"),
        .kernels = sql_number(sql, "SELECT count(*) FROM code"),
        .code_bytes = sql_number(sql, "SELECT sum(length(bytes)) FROM blob"),
    };
    database_unlock(db);
    return counts;
}

static DatabaseRegion region_row(Arena *arena, sqlite3_stmt *s) {
    DatabaseRegion region = {.region = sql_hash(s, 0),
                             .context = sql_hash(s, 1),
                             .name = sql_str(arena, s, 2),
                             .cpu = sql_str(arena, s, 3),
                             .level = sql_str(arena, s, 4),
                             .threads = (uint32_t)sqlite3_column_int64(s, 5),
                             .emitter = sql_str(arena, s, 6),
                             .trials = sqlite3_column_int64(s, 7),
                             .good_trials = sqlite3_column_int64(s, 8)};
    return region;
}

uint32_t database_regions(Database *db, Arena *arena, DatabaseRegion **out) {
    Vec(DatabaseRegion) regions = {0};
    database_lock(db);
    sqlite3_stmt *s = sql_prepare(
        db, "SELECT t.region, t.env, r.name, d.cpu, d.level, d.threads, e.emitter, count(*),"
            " sum(t.status = 'ok') FROM trial t LEFT JOIN region r ON r.key = t.region"
            " LEFT JOIN env e ON e.key = t.env LEFT JOIN device d ON d.key = e.device"
            " GROUP BY t.region, t.env ORDER BY r.name, t.region, t.env");
    while (sql_row(s))
        vec_push(arena, &regions, region_row(arena, s));
    sql_done(s);
    database_unlock(db);
    vec_each (DatabaseRegion, region, &regions)
        if (!database_best(db, region->region, region->context, &region->best, &region->median))
            region->median = 0;
    *out = regions.ptr;
    return regions.len;
}

// ---- copies

// The copy is for others: nobody there holds a claim, and it has no journal beside it.
static bool finish_copy(Diag *diag, const char *name, Str path) {
    sqlite3 *copy = NULL;
    bool ok = sqlite3_open_v2(name, &copy, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
              sql_script(copy, "DELETE FROM claim; PRAGMA journal_mode=DELETE");
    if (!ok) sql_error(diag, path, sql_failure(copy), "write");
    sqlite3_close(copy);
    return ok;
}

static bool copy_to(Diag *diag, Database *db, const char *name, Str path) {
    database_lock(db);
    sqlite3_stmt *s = sql_prepare(db, "VACUUM INTO ?1");
    sql_bind_str(s, 1, str_of(name));
    bool ok = s && sqlite3_step(s) == SQLITE_DONE;
    sql_done(s);
    SqlFailure failure = sql_failure(db->sql);
    database_unlock(db);
    return ok ? finish_copy(diag, name, path) : sql_error(diag, path, failure, "write");
}

// Made beside its place, so that it appears whole or not at all.
bool database_export(Diag *diag, Database *db, Str path) {
    Arena arena = {0};
    arena_init(&arena);
    const char *target = arena_strndup(&arena, path.ptr, path.len);
    const char *temporary = arena_printf(&arena, "%s.%ld.tmp", target, (long)getpid());
    unlink(temporary);
    bool ok = copy_to(diag, db, temporary, path);
    if (ok && rename(temporary, target))
        ok = diag_file_error(diag, FAIL_ENVIRONMENT, path, "cannot be written");
    if (!ok) unlink(temporary);
    arena_release(&arena);
    return ok;
}

// ---- union

// The same machine may have been measured in both: the larger peak is the truer.
static const char merge_text[] =
    "INSERT OR IGNORE INTO main.region SELECT * FROM other.region;"
    "INSERT OR IGNORE INTO main.env SELECT * FROM other.env;"
    "INSERT INTO main.device(key, cpu, level, threads, flops, read_bytes, l3_bytes, l2_bytes)"
    "  SELECT key, cpu, level, threads, flops, read_bytes, l3_bytes, l2_bytes"
    "  FROM other.device WHERE true ON CONFLICT(key) DO UPDATE"
    "  SET flops = max(flops, excluded.flops), read_bytes = max(read_bytes, excluded.read_bytes),"
    "  l3_bytes = max(l3_bytes, excluded.l3_bytes), l2_bytes = max(l2_bytes, excluded.l2_bytes);"
    "INSERT OR IGNORE INTO main.poison SELECT * FROM other.poison;"
    "INSERT OR IGNORE INTO main.trial(key, region, env, knobs, rank, status, samples, median,"
    "  ci_lo, ci_hi, out_hash, note, at) SELECT key, region, env, knobs, rank, status, samples,"
    "  median, ci_lo, ci_hi, out_hash, note, at FROM other.trial ORDER BY id;";

// Opening it by itself first tells whether it is there, whole and ours, without creating it.
static bool check_other(Diag *diag, const char *name, Str path) {
    if (!io_exists(path)) return diag_file_error(diag, FAIL_INPUT, path, "no such file");
    sqlite3 *other = NULL;
    bool ok = sqlite3_open_v2(name, &other, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK;
    ok = ok ? sql_is_ours(diag, other, path, false)
            : sql_error(diag, path, sql_failure(other), "open");
    sqlite3_close(other);
    return ok;
}

static bool merge_attached(Database *db, int64_t *added) {
    int64_t before = sql_number(db->sql, "SELECT count(*) FROM main.trial");
    bool ok = sql_script(db->sql, "BEGIN IMMEDIATE") && sql_script(db->sql, merge_text) &&
              sql_script(db->sql, "COMMIT");
    *added = sql_number(db->sql, "SELECT count(*) FROM main.trial") - before;
    return ok;
}

static bool merge_locked(Diag *diag, Database *db, Str path, int64_t *added) {
    sqlite3_stmt *s = sql_prepare(db, "ATTACH DATABASE ?1 AS other");
    sql_bind_str(s, 1, path);
    bool attached = s && sqlite3_step(s) == SQLITE_DONE;
    sql_done(s);
    if (!attached) return sql_error(diag, path, sql_failure(db->sql), "open");
    bool ok = merge_attached(db, added);
    if (!ok) {
        sql_error(diag, path, sql_failure(db->sql), "merge");
        if (!sqlite3_get_autocommit(db->sql)) sql_script(db->sql, "ROLLBACK");
        *added = 0;
    }
    sql_script(db->sql, "DETACH DATABASE other");
    return ok;
}

bool database_merge(Diag *diag, Database *db, Str path, int64_t *added) {
    Arena arena = {0};
    arena_init(&arena);
    *added = 0;
    bool ok = check_other(diag, arena_strndup(&arena, path.ptr, path.len), path);
    if (ok) {
        database_lock(db);
        ok = merge_locked(diag, db, path, added);
        database_unlock(db);
    }
    arena_release(&arena);
    return ok;
}

// ---- checks

static bool damaged(Diag *diag, Database *db, const char *what, Str which) {
    return diag_file_error(diag, FAIL_INPUT, db->path, "%s: %.*s", what, STR_ARG(which));
}

static bool verify_structure(Diag *diag, Database *db, Arena *arena) {
    sqlite3_stmt *s = sql_prepare(db, "PRAGMA integrity_check(10)");
    bool ok = s != NULL, any = false;
    while (sql_row(s)) {
        Str line = sql_str(arena, s, 0);
        any = true;
        if (!str_eq(line, STR("ok"))) ok = damaged(diag, db, "damaged", line);
    }
    sql_done(s);
    return ok && any ? true : ok ? damaged(diag, db, "damaged", STR("cannot be read")) : false;
}

static bool verify_blobs(Diag *diag, Database *db, Arena *arena) {
    sqlite3_stmt *s = sql_prepare(db, "SELECT hash, bytes FROM blob");
    bool ok = s != NULL;
    while (sql_row(s)) {
        Str bytes = sql_blob(s, 1);
        if (!hash_eq(hash_bytes(bytes.ptr, bytes.len), sql_hash(s, 0)))
            ok = damaged(diag, db, "machine code differs from its hash", sql_str(arena, s, 0));
    }
    sql_done(s);
    return ok;
}

// Rows that a query finds are wrong, for the reason given.
static bool verify_none(Diag *diag, Database *db, const char *query, const char *what) {
    Arena arena = {0};
    arena_init(&arena);
    sqlite3_stmt *s = sql_prepare(db, query);
    bool ok = s != NULL;
    for (int i = 0; i < DIAG_MAX_ERRORS && sql_row(s); i++)
        ok = damaged(diag, db, what, sql_str(&arena, s, 0));
    sql_done(s);
    arena_release(&arena);
    return ok;
}

static bool verify_rows(Diag *diag, Database *db) {
    bool ok =
        verify_none(diag, db, "SELECT key FROM code WHERE hash NOT IN (SELECT hash FROM blob)",
                    "machine code is missing");
    ok = verify_none(diag, db,
                     "SELECT key FROM env WHERE device NOT IN (SELECT key FROM device)",
                     "a context without its device") &&
         ok;
    ok = verify_none(diag, db, "SELECT key FROM trial WHERE length(samples) % 8 != 0",
                     "a trial with half a sample") &&
         ok;
    return verify_none(diag, db,
                       "SELECT key FROM trial WHERE status = 'ok' AND"
                       " NOT (median > 0 AND ci_lo <= median AND median <= ci_hi)",
                       "a trial whose median is not in its interval") &&
           ok;
}

static bool verify_knobs(Diag *diag, Database *db, Arena *arena) {
    sqlite3_stmt *s = sql_prepare(db, "SELECT DISTINCT knobs FROM trial");
    bool ok = s != NULL;
    while (sql_row(s)) {
        Schedule schedule;
        Str knobs = sql_str(arena, s, 0);
        if (!schedule_read(knobs, &schedule))
            ok = damaged(diag, db, "a schedule that cannot be read", knobs);
    }
    sql_done(s);
    return ok;
}

bool database_verify(Diag *diag, Database *db) {
    Arena arena = {0};
    arena_init(&arena);
    database_lock(db);
    bool ok = verify_structure(diag, db, &arena);
    if (ok) {
        bool blobs = verify_blobs(diag, db, &arena), rows = verify_rows(diag, db);
        ok = verify_knobs(diag, db, &arena) && blobs && rows;
    }
    database_unlock(db);
    arena_release(&arena);
    return ok;
}

bool database_prune(Diag *diag, Database *db) {
    char text[160];
    snprintf(text, sizeof text,
             "BEGIN IMMEDIATE; DELETE FROM code; DELETE FROM blob;"
             " DELETE FROM claim WHERE deadline < %lld; COMMIT; VACUUM",
             (long long)unix_seconds());
    database_lock(db);
    bool ok = sql_script(db->sql, text);
    SqlFailure failure = sql_failure(db->sql);
    if (!ok && !sqlite3_get_autocommit(db->sql)) sql_script(db->sql, "ROLLBACK");
    database_unlock(db);
    return ok || sql_error(diag, db->path, failure, "write");
}
