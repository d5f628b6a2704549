// mapping_run.h: a mapping carried out, tensor by tensor: no more than a few are in memory.
#pragma once

#include <signal.h>

#include "runtime/mapping.h"
#include "runtime/sharded.h"

typedef struct {
    const volatile sig_atomic_t *stop;  // not 0: give up (FAIL_INTERRUPTED); may be NULL
    // Called with bytes written of all; may be NULL.
    void (*progress)(void *context, int64_t done, int64_t total);
    void *context;
} MapWatch;

typedef struct {
    uint32_t tensors, initial, files;  // written; of these with their initial values
    int64_t elements;
    StrBuf left_out;  // names of the source's tensors that were left out, on purpose
    uint32_t left_out_count;
} MapReport;

typedef struct {
    const MapPlan *plan;
    const Sharded *from;
    Str out;        // the file
    uint64_t seed;  // of initial values
    MapWatch watch;
} ImportRequest;
// Writes a file of ours; nothing if it fails.
MUST_USE bool mapping_import(Diag *diag, const ImportRequest *request, MapReport *report);

typedef struct {
    const MapPlan *plan;
    const TensorFile *params;
    Str out;              // the folder
    int64_t shard_bytes;  // a file ends before it grows beyond, unless by its only tensor
    bool has_type;
    DType type;  // of tensors whose rules say none; without it as they are stored
    uint64_t seed;
    MapWatch watch;
} ExportRequest;
// Writes a folder of theirs; nothing if it fails. States that `params` lacks have their initial
// values.
MUST_USE bool mapping_export(Diag *diag, const ExportRequest *request, MapReport *report);

// ---- for both
MUST_USE bool map_stopped(Diag *diag, const MapWatch *watch);  // records the interruption
void map_leave_out(MapReport *report, Str name);
// A tensor without names of axes.
PlanTensor map_tensor(Arena *arena, Str name, DType type, const Shape *shape);
