// database_sql.c: short names for SQLite's calls.
#include "autotune/database_sql.h"

#include <string.h>
#include <time.h>

void database_lock(Database *db) { pthread_mutex_lock(&db->mutex); }
void database_unlock(Database *db) { pthread_mutex_unlock(&db->mutex); }

int64_t unix_seconds(void) { return (int64_t)time(NULL); }

sqlite3_stmt *sql_prepare(Database *db, const char *text) {
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db->sql, text, -1, &statement, NULL) != SQLITE_OK) return NULL;
    return statement;
}

void sql_bind_hash(sqlite3_stmt *statement, int number, Hash hash) {
    char text[HASH_TEXT];
    hash_text(hash, text);
    if (statement) sqlite3_bind_text(statement, number, text, -1, SQLITE_TRANSIENT);
}

void sql_bind_str(sqlite3_stmt *statement, int number, Str s) {
    if (statement)
        sqlite3_bind_text64(statement, number, s.len ? s.ptr : "", s.len, SQLITE_STATIC,
                            SQLITE_UTF8);
}

void sql_bind_int(sqlite3_stmt *statement, int number, int64_t x) {
    if (statement) sqlite3_bind_int64(statement, number, x);
}

void sql_bind_double(sqlite3_stmt *statement, int number, double x) {
    if (statement) sqlite3_bind_double(statement, number, x);
}

void sql_bind_blob(sqlite3_stmt *statement, int number, Str bytes) {
    if (statement)
        sqlite3_bind_blob64(statement, number, bytes.len ? bytes.ptr : "", bytes.len,
                            SQLITE_STATIC);
}

bool sql_row(sqlite3_stmt *statement) {
    return statement && sqlite3_step(statement) == SQLITE_ROW;
}

Hash sql_hash(sqlite3_stmt *statement, int column) {
    Hash hash = {0};
    const unsigned char *text = sqlite3_column_text(statement, column);
    if (!text || !hash_parse((const char *)text, &hash)) return (Hash){0};
    return hash;
}

Str sql_str(Arena *arena, sqlite3_stmt *statement, int column) {
    const unsigned char *text = sqlite3_column_text(statement, column);
    size_t n = (size_t)sqlite3_column_bytes(statement, column);
    return text ? str_copy(arena, (Str){(const char *)text, n}) : (Str){0};
}

Str sql_blob(sqlite3_stmt *statement, int column) {
    const void *bytes = sqlite3_column_blob(statement, column);
    size_t n = (size_t)sqlite3_column_bytes(statement, column);
    return bytes ? (Str){bytes, n} : (Str){0};
}

void sql_done(sqlite3_stmt *statement) { sqlite3_finalize(statement); }

bool sql_write(Database *db, sqlite3_stmt *statement) {
    bool ok = statement && sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_finalize(statement);
    if (!ok) db->write_failures++;
    return ok;
}

bool sql_script(sqlite3 *sql, const char *text) {
    return sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK;
}

int64_t sql_number(sqlite3 *sql, const char *query) {
    sqlite3_stmt *statement = NULL;
    int64_t x = 0;
    if (sqlite3_prepare_v2(sql, query, -1, &statement, NULL) == SQLITE_OK && sql_row(statement))
        x = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return x;
}

SqlFailure sql_failure(sqlite3 *sql) {
    return (SqlFailure){sqlite3_errcode(sql), sqlite3_system_errno(sql)};
}

// A file that is no database, or a broken one, is the user's input; all else is the machine.
bool sql_error(Diag *diag, Str path, SqlFailure failure, const char *doing) {
    const char *what = sqlite3_errstr(failure.code);
    if (failure.code == SQLITE_NOTADB || failure.code == SQLITE_CORRUPT)
        return diag_file_error(diag, FAIL_INPUT, path,
                               "damaged, or not a tuning database: %s; move it away to start a "
                               "new one",
                               what);
    return diag_file_error(
        diag, FAIL_ENVIRONMENT, path, "cannot %s the tuning database: %s%s%s", doing, what,
        failure.system ? ": " : "", failure.system ? strerror(failure.system) : "");
}

bool sql_is_ours(Diag *diag, sqlite3 *sql, Str path, bool set_up) {
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(sql, "SELECT count(*) FROM sqlite_master", -1, &statement, NULL);
    if (code == SQLITE_OK) code = sqlite3_step(statement);
    bool empty = code == SQLITE_ROW && sqlite3_column_int64(statement, 0) == 0;
    SqlFailure failure = sql_failure(sql);
    sqlite3_finalize(statement);
    if (code != SQLITE_ROW) return sql_error(diag, path, failure, "read");
    if (empty && set_up) return true;
    if (sql_number(sql, "PRAGMA application_id") != DATABASE_APPLICATION)
        return diag_file_error(diag, FAIL_INPUT, path,
                               "an SQLite database, but not a tuning database of Strata");
    int64_t version = sql_number(sql, "PRAGMA user_version");
    if (version == DATABASE_VERSION) return true;
    if (set_up && version >= 1 && version < DATABASE_VERSION) return true;
    return diag_file_error(
        diag, FAIL_INPUT, path,
        "a tuning database of version %lld, and this program knows version %d",
        (long long)version, DATABASE_VERSION);
}
