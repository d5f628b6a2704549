// database_sql.h: private to database*.c: the connection, and short names for SQLite's calls.
// Statements are prepared where they are used: each takes microseconds.
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "autotune/database.h"

#define DATABASE_APPLICATION 0x53545254  // "STRT", SQLite's application_id
#define DATABASE_VERSION     3           // of the schema, SQLite's user_version

struct Database {
    Arena arena;  // owns this struct
    Str path;
    sqlite3 *sql;
    pthread_mutex_t mutex;  // held during every call
    uint64_t write_failures;
};

void database_lock(Database *db);
void database_unlock(Database *db);

// NULL: the text does not fit the file, which is damaged. The bind and column functions take a
// NULL statement for one that has no rows.
sqlite3_stmt *sql_prepare(Database *db, const char *text);
void sql_bind_hash(sqlite3_stmt *statement, int number, Hash hash);  // numbers from 1
void sql_bind_str(sqlite3_stmt *statement, int number, Str s);       // must live on
void sql_bind_int(sqlite3_stmt *statement, int number, int64_t x);
void sql_bind_double(sqlite3_stmt *statement, int number, double x);
void sql_bind_blob(sqlite3_stmt *statement, int number, Str bytes);  // must live on
bool sql_row(sqlite3_stmt *statement);                               // to the next row
Hash sql_hash(sqlite3_stmt *statement, int column);                  // columns from 0
Str sql_str(Arena *arena, sqlite3_stmt *statement, int column);
Str sql_blob(sqlite3_stmt *statement, int column);  // until the next row
void sql_done(sqlite3_stmt *statement);
// Runs a statement that changes something, and finishes it. False: counted.
bool sql_write(Database *db, sqlite3_stmt *statement);
// Several statements without results.
bool sql_script(sqlite3 *sql, const char *text);
int64_t sql_number(sqlite3 *sql, const char *query);  // 0 if it has no answer

// Is the open file one of ours, of this version? If it is going to be set up, an empty file and
// an earlier version are, too.
MUST_USE bool sql_is_ours(Diag *diag, sqlite3 *sql, Str path, bool set_up);
// The connection's last error, and how to report it.
typedef struct {
    int code, system;  // SQLite's, and the system's errno or 0
} SqlFailure;
SqlFailure sql_failure(sqlite3 *sql);
bool sql_error(Diag *diag, Str path, SqlFailure failure, const char *doing);

int64_t unix_seconds(void);
