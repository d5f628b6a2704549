// database.h: the tuning database: one SQLite file that holds devices, regions, every trial
// with its samples, and machine code by content. Many processes may use one file at once;
// nothing written is lost.
#pragma once

#include "base/diag.h"
#include "base/hash.h"
#include "codegen/emitter.h"
#include "ir/tile/schedule.h"

typedef struct Database Database;

// Opens or creates. An empty path: a private one in memory. A damaged file is an error that
// names it, never overwritten. Safe to use from several threads.
MUST_USE bool database_open(Diag *diag, Str path, Database **out);
void database_close(Database *db);

// What a measurement is valid for: this machine (name, features, caches, cores used) and this
// compiler (emitter and LLVM versions).
typedef struct {
    Str cpu;
    CpuLevel level;
    uint32_t threads;
    Str emitter;
} TuneContext;
Hash tune_context_hash(const TuneContext *context);

// ---- code: keyed by program text, level and emitter version
Hash code_key(Hash program, CpuLevel level, Str emitter);
bool database_code_find(Database *db, Arena *arena, Hash key, EmittedKernel *out);
void database_code_add(Database *db, Hash key,
                       const EmittedKernel *kernel);  // failing to remember is no failure

// ---- schedules: keyed by the region's identity (region_hash) and the context
bool database_best(Database *db, Hash region, Hash context, Schedule *out, double *median_ns);
