// database_trials.c: attempts, what is best, what must not be tried again, and who is at it.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "autotune/database_sql.h"
#include "base/check.h"

static const struct {
    const char *text;
    bool poisons;
} statuses[] = {
#define TRIAL_STATUS(NAME, text, poisons) {text, poisons},
#include "autotune/trial_status.def"
#undef TRIAL_STATUS
};

const char *trial_status_text(TrialStatus status) {
    ASSERT(status < TRIAL_STATUS_COUNT);
    return statuses[status].text;
}

static bool status_parse(Str text, TrialStatus *out) {
    for (int i = 0; i < TRIAL_STATUS_COUNT; i++) {
        if (!str_eq(text, str_of(statuses[i].text))) continue;
        *out = (TrialStatus)i;
        return true;
    }
    return false;
}

// ---- writing

// Two attempts with the same samples at the same second are one.
static Hash trial_key(const Trial *trial, Str knobs, int64_t at) {
    StrBuf text = {0};
    strbuf_addf(&text, "%s\n%.*s\n%lld\n%.*s\n", trial_status_text(trial->status),
                STR_ARG(knobs), (long long)at, STR_ARG(trial->note));
    strbuf_add_double(&text, trial->median);
    if (trial->sample_count)
        strbuf_add(&text, (Str){(const char *)trial->samples,
                                trial->sample_count * sizeof *trial->samples});
    Hash hash = hash_bytes(text.ptr, text.len);
    strbuf_release(&text);
    return hash_mix(hash_mix(trial->region, trial->context), hash);
}

static bool poison_add(Database *db, const Trial *trial, Str knobs, int64_t at) {
    sqlite3_stmt *s =
        sql_prepare(db, "INSERT OR IGNORE INTO poison VALUES(?1, ?2, ?3, ?4, ?5)");
    sql_bind_hash(s, 1, trial->region);
    sql_bind_hash(s, 2, trial->context);
    sql_bind_str(s, 3, knobs);
    sql_bind_str(s, 4, str_of(trial_status_text(trial->status)));
    sql_bind_int(s, 5, at);
    return sql_write(db, s);
}

static bool trial_row(Database *db, const Trial *trial, Str knobs, int64_t at) {
    sqlite3_stmt *s = sql_prepare(
        db,
        "INSERT OR IGNORE INTO trial(key, region, env, knobs, rank, status, samples, median,"
        " ci_lo, ci_hi, out_hash, note, at)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)");
    sql_bind_hash(s, 1, trial_key(trial, knobs, at));
    sql_bind_hash(s, 2, trial->region);
    sql_bind_hash(s, 3, trial->context);
    sql_bind_str(s, 4, knobs);
    sql_bind_int(s, 5, trial->rank);
    sql_bind_str(s, 6, str_of(trial_status_text(trial->status)));
    sql_bind_blob(
        s, 7,
        (Str){(const char *)trial->samples, trial->sample_count * sizeof *trial->samples});
    sql_bind_double(s, 8, trial->median);
    sql_bind_double(s, 9, trial->low);
    sql_bind_double(s, 10, trial->high);
    sql_bind_hash(s, 11, trial->output);
    sql_bind_str(s, 12, trial->note);
    sql_bind_int(s, 13, at);
    return sql_write(db, s);
}

bool database_trial_add(Database *db, const Trial *trial) {
    StrBuf knobs = {0};
    schedule_print(&trial->schedule, &knobs);
    int64_t at = trial->at ? trial->at : unix_seconds();
    database_lock(db);
    bool ok = trial_row(db, trial, strbuf_view(&knobs), at);
    if (statuses[trial->status].poisons)
        ok = poison_add(db, trial, strbuf_view(&knobs), at) && ok;
    database_unlock(db);
    strbuf_release(&knobs);
    return ok;
}

// ---- reading

// False: a row of a later version, or a damaged one.
static bool trial_read(Arena *arena, sqlite3_stmt *s, Trial *out) {
    *out = (Trial){.rank = (uint32_t)sqlite3_column_int64(s, 1),
                   .median = sqlite3_column_double(s, 4),
                   .low = sqlite3_column_double(s, 5),
                   .high = sqlite3_column_double(s, 6),
                   .output = sql_hash(s, 7),
                   .note = sql_str(arena, s, 8),
                   .at = sqlite3_column_int64(s, 9)};
    Str samples = sql_blob(s, 3);
    out->sample_count = (uint32_t)(samples.len / sizeof(double));
    double *copy = arena_array(arena, double, out->sample_count);
    if (out->sample_count) memcpy(copy, samples.ptr, out->sample_count * sizeof(double));
    out->samples = copy;
    return schedule_read(sql_str(arena, s, 0), &out->schedule) &&
           status_parse(sql_str(arena, s, 2), &out->status);
}

static uint32_t trials_read(Database *db, Arena *arena, Hash region, Hash context,
                            Trial **out) {
    Vec(Trial) trials = {0};
    sqlite3_stmt *s =
        sql_prepare(db, "SELECT knobs, rank, status, samples, median, ci_lo, ci_hi, out_hash,"
                        " note, at FROM trial WHERE region = ?1 AND env = ?2 ORDER BY at, id");
    sql_bind_hash(s, 1, region);
    sql_bind_hash(s, 2, context);
    while (sql_row(s)) {
        Trial trial;
        if (!trial_read(arena, s, &trial)) continue;
        trial.region = region;
        trial.context = context;
        vec_push(arena, &trials, trial);
    }
    sql_done(s);
    *out = trials.ptr;
    return trials.len;
}

uint32_t database_trials(Database *db, Arena *arena, Hash region, Hash context, Trial **out) {
    database_lock(db);
    uint32_t count = trials_read(db, arena, region, context, out);
    database_unlock(db);
    return count;
}

// ---- the best

static bool schedule_same(const Schedule *a, const Schedule *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

// A later attempt at the same schedule replaces the earlier: only the last says what it is now.
static bool replaced(const Trial *trials, uint32_t count, uint32_t i) {
    for (uint32_t j = i + 1; j < count; j++)
        if (schedule_same(&trials[i].schedule, &trials[j].schedule)) return true;
    return false;
}

// Not distinguishable from the fastest: the intervals meet, and the medians are near.
static bool ties(const Trial *trial, const Trial *fastest) {
    const double near = 1.03;
    return trial->low <= fastest->high && trial->median <= fastest->median * near;
}

static const Trial *best_of(const Trial *trials, uint32_t count) {
    const Trial *fastest = NULL, *best = NULL;
    for (uint32_t i = 0; i < count; i++)
        if (trials[i].status == TRIAL_OK && trials[i].median > 0 &&
            !replaced(trials, count, i) && (!fastest || trials[i].median < fastest->median))
            fastest = &trials[i];
    for (uint32_t i = 0; fastest && i < count; i++) {
        const Trial *t = &trials[i];
        if (t->status != TRIAL_OK || t->median <= 0 || replaced(trials, count, i)) continue;
        if (ties(t, fastest) && (!best || t->rank < best->rank)) best = t;
    }
    return best;
}

bool database_best(Database *db, Hash region, Hash context, Schedule *out, double *median_ns) {
    Arena arena = {0};
    arena_init(&arena);
    Trial *trials;
    uint32_t count = database_trials(db, &arena, region, context, &trials);
    const Trial *best = best_of(trials, count);
    if (best) *out = best->schedule;
    if (best && median_ns) *median_ns = best->median;
    arena_release(&arena);
    return best != NULL;
}

bool database_poisoned(Database *db, Hash region, Hash context, const Schedule *schedule) {
    StrBuf knobs = {0};
    schedule_print(schedule, &knobs);
    database_lock(db);
    sqlite3_stmt *s =
        sql_prepare(db, "SELECT 1 FROM poison WHERE region = ?1 AND env = ?2 AND knobs = ?3");
    sql_bind_hash(s, 1, region);
    sql_bind_hash(s, 2, context);
    sql_bind_str(s, 3, strbuf_view(&knobs));
    bool found = sql_row(s);
    sql_done(s);
    database_unlock(db);
    strbuf_release(&knobs);
    return found;
}

// ---- names of hashes

void database_region_add(Database *db, Hash region, Str name, Str text) {
    database_lock(db);
    sqlite3_stmt *s = sql_prepare(db, "INSERT OR IGNORE INTO region VALUES(?1, ?2, ?3)");
    sql_bind_hash(s, 1, region);
    sql_bind_str(s, 2, name);
    sql_bind_str(s, 3, text);
    sql_write(db, s);
    database_unlock(db);
}

// The machine alone, whatever the compiler.
static Hash device_key(const TuneContext *context) {
    TuneContext device = *context;
    device.emitter = (Str){0};
    return tune_context_hash(&device);
}

static void device_add(Database *db, const TuneContext *context) {
    sqlite3_stmt *s = sql_prepare(
        db, "INSERT OR IGNORE INTO device(key, cpu, level, threads) VALUES(?1, ?2, ?3, ?4)");
    sql_bind_hash(s, 1, device_key(context));
    sql_bind_str(s, 2, context->cpu);
    sql_bind_str(s, 3, str_of(isa_level_text(context->level)));
    sql_bind_int(s, 4, context->threads);
    sql_write(db, s);
}

void database_context_add(Database *db, const TuneContext *context) {
    database_lock(db);
    device_add(db, context);
    sqlite3_stmt *s = sql_prepare(db, "INSERT OR IGNORE INTO env VALUES(?1, ?2, ?3)");
    sql_bind_hash(s, 1, tune_context_hash(context));
    sql_bind_hash(s, 2, device_key(context));
    sql_bind_str(s, 3, context->emitter);
    sql_write(db, s);
    database_unlock(db);
}

bool database_peaks_find(Database *db, const TuneContext *context, MachinePeaks *out) {
    database_lock(db);
    sqlite3_stmt *s =
        sql_prepare(db, "SELECT flops, read_bytes, l3_bytes, l2_bytes FROM device"
                        " WHERE key = ?1 AND min(flops, read_bytes, l3_bytes, l2_bytes) > 0");
    sql_bind_hash(s, 1, device_key(context));
    bool found = sql_row(s);
    if (found)
        *out = (MachinePeaks){sqlite3_column_double(s, 0), sqlite3_column_double(s, 1),
                              sqlite3_column_double(s, 2), sqlite3_column_double(s, 3)};
    sql_done(s);
    database_unlock(db);
    return found;
}

void database_peaks_add(Database *db, const TuneContext *context, const MachinePeaks *peaks) {
    database_lock(db);
    device_add(db, context);
    sqlite3_stmt *s = sql_prepare(
        db, "UPDATE device SET flops = max(flops, ?2), read_bytes = max(read_bytes, ?3),"
            " l3_bytes = max(l3_bytes, ?4), l2_bytes = max(l2_bytes, ?5) WHERE key = ?1");
    sql_bind_hash(s, 1, device_key(context));
    sql_bind_double(s, 2, peaks->flops);
    sql_bind_double(s, 3, peaks->read_bytes);
    sql_bind_double(s, 4, peaks->l3_bytes);
    sql_bind_double(s, 5, peaks->l2_bytes);
    sql_write(db, s);
    database_unlock(db);
}

// ---- claims

enum { HOST_MAX = 256 };

static void host_name(char out[HOST_MAX]) {
    if (gethostname(out, HOST_MAX - 1)) out[0] = 0;
    out[HOST_MAX - 1] = 0;
}

// A process of this host that is no more holds nothing.
static void drop_orphan(Database *db, Hash key, const char *host) {
    sqlite3_stmt *s = sql_prepare(db, "SELECT pid FROM claim WHERE key = ?1 AND host = ?2");
    sql_bind_hash(s, 1, key);
    sql_bind_str(s, 2, str_of(host));
    pid_t pid = sql_row(s) ? (pid_t)sqlite3_column_int64(s, 0) : 0;
    sql_done(s);
    if (pid <= 0 || kill(pid, 0) == 0 || errno != ESRCH) return;
    s = sql_prepare(db, "DELETE FROM claim WHERE key = ?1 AND host = ?2 AND pid = ?3");
    sql_bind_hash(s, 1, key);
    sql_bind_str(s, 2, str_of(host));
    sql_bind_int(s, 3, pid);
    sql_write(db, s);
}

// Ours if it is new, or was ours, or has lapsed. The database tells by the changed row.
bool database_claim(Database *db, Hash key, int64_t seconds) {
    char host[HOST_MAX];
    host_name(host);
    int64_t now = unix_seconds();
    database_lock(db);
    drop_orphan(db, key, host);
    sqlite3_stmt *s =
        sql_prepare(db, "INSERT INTO claim VALUES(?1, ?2, ?3, ?4) ON CONFLICT(key) DO UPDATE"
                        " SET pid = ?2, host = ?3, deadline = ?4"
                        " WHERE deadline < ?5 OR (pid = ?2 AND host = ?3)");
    sql_bind_hash(s, 1, key);
    sql_bind_int(s, 2, getpid());
    sql_bind_str(s, 3, str_of(host));
    sql_bind_int(s, 4, now + seconds);
    sql_bind_int(s, 5, now);
    bool written = sql_write(db, s);
    bool ours = !written || sqlite3_changes(db->sql) > 0;
    database_unlock(db);
    return ours;
}

void database_release(Database *db, Hash key) {
    char host[HOST_MAX];
    host_name(host);
    database_lock(db);
    sqlite3_stmt *s =
        sql_prepare(db, "DELETE FROM claim WHERE key = ?1 AND pid = ?2 AND host = ?3");
    sql_bind_hash(s, 1, key);
    sql_bind_int(s, 2, getpid());
    sql_bind_str(s, 3, str_of(host));
    sql_write(db, s);
    database_unlock(db);
}
