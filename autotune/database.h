// database.h: the tuning database: one SQLite file that holds devices, regions, every trial
// with its samples, and machine code by content. Many processes may use one file at once;
// nothing written is lost. Its tables are described in docs/autotuning.md.
#pragma once

#include "base/diag.h"
#include "base/hash.h"
#include "codegen/emitter.h"
#include "ir/tile/schedule.h"

typedef struct Database Database;

// Opens or creates, parent directories included. An empty path: a private one in memory. A
// damaged file is an error that names it, never overwritten. Safe to use from several threads,
// but not across a fork.
MUST_USE bool database_open(Diag *diag, Str path, Database **out);
void database_close(Database *db);  // NULL is fine
Str database_path(const Database *db);
// Remembering is best effort: a write that fails later (a full disk) is only counted here.
uint64_t database_write_failures(const Database *db);

// What a measurement is valid for: this machine (name, features, caches, cores used) and this
// compiler (emitter and LLVM versions).
typedef struct {
    Str cpu;
    IsaLevel level;
    uint32_t threads;
    Str emitter;
} TuneContext;
Hash tune_context_hash(const TuneContext *context);

// ---- code: keyed by program text, level and emitter version
Hash code_key(Hash program, IsaLevel level, Str emitter);
bool database_code_find(Database *db, Arena *arena, Hash key, EmittedKernel *out);
void database_code_add(Database *db, Hash key,
                       const EmittedKernel *kernel);  // failing to remember is no failure

// ---- schedules: keyed by the region's identity (region_hash) and the context
// The fastest schedule whose measurement is in the database. Among those that cannot be told
// from the fastest, the one that the prior likes best, so that tuning again changes nothing
// without a reason. False: none. `median_ns` may be NULL.
bool database_best(Database *db, Hash region, Hash context, Schedule *out, double *median_ns);

// ---- trials: one row an attempt, failures included
typedef enum {
#define TRIAL_STATUS(NAME, text, poisons) TRIAL_##NAME,
#include "autotune/trial_status.def"
#undef TRIAL_STATUS
    TRIAL_STATUS_COUNT
} TrialStatus;
const char *trial_status_text(TrialStatus status);

typedef struct {
    Hash region, context;
    Schedule schedule;
    uint32_t rank;  // in the prior's order, best guess first
    TrialStatus status;
    const double *samples;  // ns
    uint32_t sample_count;
    double median, low, high;  // ns, in the incumbent's time: see measure.h
    Hash output;               // of the bits it wrote on the inputs of the check
    Str note;                  // why it failed
    int64_t at;                // seconds since 1970; 0: now
} Trial;

// A status that poisons also goes to the poison list.
bool database_trial_add(Database *db, const Trial *trial);
// In the order they were made.
uint32_t database_trials(Database *db, Arena *arena, Hash region, Hash context, Trial **out);
bool database_poisoned(Database *db, Hash region, Hash context, const Schedule *schedule);

// ---- what the hashes stand for, for people who read the file
void database_region_add(Database *db, Hash region, Str name, Str text);
void database_context_add(Database *db, const TuneContext *context);

// ---- what the machine can do at most, with a context's threads and features
typedef struct {
    double flops, read_bytes;   // a second; read_bytes: from memory
    double l3_bytes, l2_bytes;  // a second, from the caches; 0: not known
} MachinePeaks;
bool database_peaks_find(Database *db, const TuneContext *context, MachinePeaks *out);
// Keeps the larger of these and what was there.
void database_peaks_add(Database *db, const TuneContext *context, const MachinePeaks *peaks);

// ---- single flight: of all processes, one holds a claim; it lapses after `seconds`, so that a
// process that died holds nothing up, even less on this host. Claiming again what one holds
// prolongs it. True also where the database cannot be written: then nobody can be waited for.
bool database_claim(Database *db, Hash key, int64_t seconds);
void database_release(Database *db, Hash key);

// ---- the whole file
typedef struct {
    int64_t devices, contexts, regions, trials, good_trials, poisoned, kernels, code_bytes;
} DatabaseCounts;
DatabaseCounts database_counts(Database *db);

typedef struct {
    Hash region, context;
    Str name, cpu, level, emitter;  // empty where the database does not know
    uint32_t threads;
    int64_t trials, good_trials;
    Schedule best;  // valid if median is not 0
    double median;
} DatabaseRegion;
uint32_t database_regions(Database *db, Arena *arena, DatabaseRegion **out);  // by name

// A self-contained copy.
MUST_USE bool database_export(Diag *diag, Database *db, Str path);
// Adds what the other file knows and this one does not. Machine code is not taken over: it is
// made again, never trusted. `added`: trials that are new here.
MUST_USE bool database_merge(Diag *diag, Database *db, Str path, int64_t *added);
// Everything that can be checked: SQLite's own structure, contents against their hashes, texts
// that must be readable, rows that refer to others. False: the first things found are in diag.
MUST_USE bool database_verify(Diag *diag, Database *db);
// Removes machine code (made again when needed) and lapsed claims, and returns the space.
MUST_USE bool database_prune(Diag *diag, Database *db);
