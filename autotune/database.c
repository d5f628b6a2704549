// database.c: opening the tuning database, and machine code in it.
//
// The journal is a write-ahead log, which lets readers and a writer work at once. It needs
// memory shared through the file system, which some network file systems only pretend to have,
// so opening ends with a real write, and falls back to a rollback journal if that fails.
#include "autotune/database.h"

#include <unistd.h>

#include "autotune/database_sql.h"
#include "base/check.h"
#include "base/io.h"

enum { BUSY_MS = 20000, BUSY_TRIES = 100, BUSY_PAUSE_US = 20000 };

static const char schema[] =
    // peaks: what it can do at most with so many threads, per second; 0: not measured
    "CREATE TABLE IF NOT EXISTS device(key TEXT PRIMARY KEY, cpu TEXT NOT NULL,"
    "  level TEXT NOT NULL, threads INTEGER NOT NULL, flops REAL NOT NULL DEFAULT 0,"
    "  read_bytes REAL NOT NULL DEFAULT 0, l3_bytes REAL NOT NULL DEFAULT 0,"
    "  l2_bytes REAL NOT NULL DEFAULT 0) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS env(key TEXT PRIMARY KEY, device TEXT NOT NULL,"
    "  emitter TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS region(key TEXT PRIMARY KEY, name TEXT NOT NULL,"
    "  text TEXT NOT NULL) WITHOUT ROWID;"
    // key: hash of the rest, so that merging never doubles a row
    "CREATE TABLE IF NOT EXISTS trial(id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,"
    "  region TEXT NOT NULL, env TEXT NOT NULL, knobs TEXT NOT NULL, rank INTEGER NOT NULL,"
    "  status TEXT NOT NULL, samples BLOB NOT NULL, median REAL NOT NULL, ci_lo REAL NOT NULL,"
    "  ci_hi REAL NOT NULL, out_hash TEXT NOT NULL, note TEXT NOT NULL, at INTEGER NOT NULL);"
    "CREATE INDEX IF NOT EXISTS trial_of ON trial(region, env);"
    "CREATE TABLE IF NOT EXISTS poison(region TEXT NOT NULL, env TEXT NOT NULL,"
    "  knobs TEXT NOT NULL, cause TEXT NOT NULL, at INTEGER NOT NULL,"
    "  PRIMARY KEY(region, env, knobs)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS blob(hash TEXT PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE IF NOT EXISTS code(key TEXT PRIMARY KEY, hash TEXT NOT NULL,"
    "  tasks INTEGER NOT NULL, scratch INTEGER NOT NULL, at INTEGER NOT NULL,"
    // of a GPU's code, what the compiler said of it
    "  registers INTEGER NOT NULL DEFAULT 0, spills INTEGER NOT NULL DEFAULT 0,"
    "  notes TEXT NOT NULL DEFAULT '') WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS claim(key TEXT PRIMARY KEY, pid INTEGER NOT NULL,"
    "  host TEXT NOT NULL, deadline INTEGER NOT NULL) WITHOUT ROWID;"
    // one row that every process writes when it opens the file
    "CREATE TABLE IF NOT EXISTS probe(id INTEGER PRIMARY KEY, at INTEGER NOT NULL);";

// ---- opening

// Version 1 had no bandwidth of caches.
static const char upgrade_1[] =
    "ALTER TABLE device ADD COLUMN l3_bytes REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE device ADD COLUMN l2_bytes REAL NOT NULL DEFAULT 0;";

// Version 2 did not know what compilers say of code. It is made again where it is needed.
static const char upgrade_2[] =
    "DELETE FROM code; DELETE FROM blob;"
    "ALTER TABLE code ADD COLUMN registers INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE code ADD COLUMN spills INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE code ADD COLUMN notes TEXT NOT NULL DEFAULT '';";

static bool upgrade(Database *db) {
    int64_t version = sql_number(db->sql, "PRAGMA user_version");
    return (version != 1 || sql_script(db->sql, upgrade_1)) &&
           ((version != 1 && version != 2) || sql_script(db->sql, upgrade_2));
}

// The real write. Another process may be doing the same: the version is read inside the
// transaction, and all statements say "if not exists".
static bool probe(Database *db, SqlFailure *failure) {
    char *text = sqlite3_mprintf("%s PRAGMA application_id=%d; PRAGMA user_version=%d;"
                                 " INSERT OR REPLACE INTO probe VALUES(1, %lld); COMMIT",
                                 schema, DATABASE_APPLICATION, DATABASE_VERSION,
                                 (long long)unix_seconds());
    bool ok = text && sql_script(db->sql, "BEGIN IMMEDIATE");
    ok = ok && upgrade(db) && sql_script(db->sql, text);
    sqlite3_free(text);
    if (ok) return true;
    *failure = sql_failure(db->sql);
    if (!sqlite3_get_autocommit(db->sql)) sql_script(db->sql, "ROLLBACK");
    return false;
}

// Processes that create one file together may find it locked for a moment in ways that SQLite
// does not wait for.
static bool prepare_journal(Database *db, const char *pragmas, SqlFailure *failure) {
    for (int tries = 0; tries < BUSY_TRIES; tries++) {
        if (sql_script(db->sql, pragmas)) {
            if (probe(db, failure)) return true;
        } else {
            *failure = sql_failure(db->sql);
        }
        if (failure->code != SQLITE_BUSY && failure->code != SQLITE_LOCKED) return false;
        usleep(BUSY_PAUSE_US);
    }
    return false;
}

static bool prepare_file(Diag *diag, Database *db) {
    if (!sql_is_ours(diag, db->sql, db->path, true)) return false;
    SqlFailure failure = {0};
    return prepare_journal(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
                           &failure) ||
           prepare_journal(db, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL",
                           &failure) ||
           sql_error(diag, db->path, failure, "write");
}

static bool make_parent(Diag *diag, Str path) {
    size_t n = path.len;
    while (n && path.ptr[n - 1] != '/')
        n--;
    return n <= 1 || io_make_directories(diag, (Str){path.ptr, n - 1});
}

static bool open_file(Diag *diag, Database *db) {
    const char *name = db->path.len ? db->path.ptr : ":memory:";
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (db->path.len && !make_parent(diag, db->path)) return false;
    if (sqlite3_open_v2(name, &db->sql, flags, NULL) != SQLITE_OK)
        return sql_error(diag, db->path, sql_failure(db->sql), "open");
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    return prepare_file(diag, db);
}

bool database_open(Diag *diag, Str path, Database **out) {
    Arena arena = {0};
    arena_init(&arena);
    Database *db = arena_new(&arena, Database);
    db->path = str_copy(&arena, path);
    db->arena = arena;
    pthread_mutex_init(&db->mutex, NULL);
    if (open_file(diag, db)) {
        *out = db;
        return true;
    }
    database_close(db);
    return false;
}

void database_close(Database *db) {
    if (!db) return;
    sqlite3_close(db->sql);
    pthread_mutex_destroy(&db->mutex);
    Arena arena = db->arena;
    arena_release(&arena);
}

Str database_path(const Database *db) { return db->path; }

uint64_t database_write_failures(const Database *db) { return db->write_failures; }

// ---- keys

static Hash hash_of(const StrBuf *text) { return hash_bytes(text->ptr, text->len); }

Hash tune_context_hash(const TuneContext *context) {
    StrBuf text = {0};
    strbuf_addf(&text, "%.*s\n%s\n%u\n%.*s", STR_ARG(context->cpu),
                isa_level_text(context->level), context->threads, STR_ARG(context->emitter));
    Hash hash = hash_of(&text);
    strbuf_release(&text);
    return hash;
}

Hash code_key(Hash program, IsaLevel level, Str emitter) {
    StrBuf text = {0};
    strbuf_addf(&text, "%s\n%.*s", isa_level_text(level), STR_ARG(emitter));
    Hash hash = hash_mix(program, hash_of(&text));
    strbuf_release(&text);
    return hash;
}

// ---- code

// Bytes that are not what was stored are as good as none.
static bool code_row(Arena *arena, sqlite3_stmt *statement, EmittedKernel *out) {
    Str object = sql_blob(statement, 0);
    if (!hash_eq(hash_bytes(object.ptr, object.len), sql_hash(statement, 1))) return false;
    *out = (EmittedKernel){.object = str_copy(arena, object),
                           .tasks = sqlite3_column_int64(statement, 2),
                           .scratch_bytes = sqlite3_column_int64(statement, 3),
                           .launch.registers = (uint32_t)sqlite3_column_int64(statement, 4),
                           .spill_bytes = (uint32_t)sqlite3_column_int64(statement, 5),
                           .notes = sql_str(arena, statement, 6)};
    return true;
}

bool database_code_find(Database *db, Arena *arena, Hash key, EmittedKernel *out) {
    database_lock(db);
    sqlite3_stmt *statement = sql_prepare(
        db, "SELECT bytes, blob.hash, tasks, scratch, registers, spills, notes FROM code"
            " JOIN blob ON blob.hash = code.hash WHERE code.key = ?1");
    sql_bind_hash(statement, 1, key);
    bool found = sql_row(statement) && code_row(arena, statement, out);
    sql_done(statement);
    database_unlock(db);
    return found;
}

// Machine code that is damaged in the file is replaced: the same key always has the same code.
void database_code_add(Database *db, Hash key, const EmittedKernel *kernel) {
    Hash content = hash_bytes(kernel->object.ptr, kernel->object.len);
    database_lock(db);
    sqlite3_stmt *blob = sql_prepare(db, "INSERT OR REPLACE INTO blob VALUES(?1, ?2)");
    sql_bind_hash(blob, 1, content);
    sql_bind_blob(blob, 2, kernel->object);
    if (sql_write(db, blob)) {
        sqlite3_stmt *code =
            sql_prepare(db, "INSERT OR REPLACE INTO code(key, hash, tasks, scratch, at,"
                            " registers, spills, notes)"
                            " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
        sql_bind_hash(code, 1, key);
        sql_bind_hash(code, 2, content);
        sql_bind_int(code, 3, kernel->tasks);
        sql_bind_int(code, 4, kernel->scratch_bytes);
        sql_bind_int(code, 5, unix_seconds());
        sql_bind_int(code, 6, kernel->launch.registers);
        sql_bind_int(code, 7, kernel->spill_bytes);
        sql_bind_str(code, 8, kernel->notes);
        sql_write(db, code);
    }
    database_unlock(db);
}
