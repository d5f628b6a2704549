// mapping.h: how the tensors of a checkpoint made elsewhere ("theirs") become a model's
// parameters and states ("ours"), and back (docs/checkpoints.md).
//
//     mapping file --mapping_read--> Mapping --map_plan_make--> MapPlan   (which tensor is
//     what) theirs --mapping_import--> ours          ours --mapping_export--> theirs
#pragma once

#include "base/json.h"
#include "base/map.h"
#include "base/vec.h"
#include "runtime/plan.h"

// ---- the file

typedef enum { MAP_TRANSPOSE, MAP_RESHAPE, MAP_SLICE, MAP_STACK } MapStepKind;
typedef struct {
    MapStepKind kind;
    uint32_t axis;          // slice, stack
    uint32_t count;         // of order, or of sizes
    const uint32_t *order;  // transpose: axis i becomes what was axis order[i]
    const Str *sizes;       // reshape: the extents; slice: begin, end; stack: how many
    Str over;               // stack: the placeholder that counts
} MapStep;

typedef struct {
    uint32_t number;  // from 1
    Str ours, name;   // patterns; no name: nothing of theirs
    bool has_shape, has_type;
    const Str *shape;  // of a tensor of theirs, as sizes; without it ours
    uint32_t rank;
    MapStep *steps;  // from theirs to ours
    uint32_t step_count;
    DType type;  // of theirs, when it is written
    bool init;   // where theirs has no such tensor, the model's initial value
} MapRule;

typedef struct {
    Str path;
    MapRule *rules;
    uint32_t rule_count;
    Str *ignored;  // patterns of names
    uint32_t ignored_count;
} Mapping;

MUST_USE bool mapping_read(Diag *diag, Arena *arena, Str path, Mapping *out);
// The same from memory; the mapping points into `text`.
MUST_USE bool mapping_parse(Diag *diag, Arena *arena, Str path, Str text, Mapping *out);
bool mapping_ignores(const Mapping *m, Str name);
// "MAP: error: rule 3 (layers.{i}.w): ..."
bool rule_error(Diag *diag, const Mapping *m, const MapRule *rule, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// ---- what it means for a model

typedef struct {
    uint32_t rank;
    int64_t extents[PLAN_RANK_MAX];
} Shape;

int64_t shape_count(const Shape *s);  // elements
bool shape_eq(const Shape *a, const Shape *b);
Shape shape_of(const int64_t *extents, uint32_t rank);
const char *shape_format(Arena *arena, const Shape *s);  // "[2, 3]"

// A step whose sizes are known.
typedef struct {
    const MapStep *step;
    int64_t begin;  // slice
    Shape before, after;
} Move;

// How one of ours is made.
typedef struct {
    const MapRule *rule;  // NULL: a state that no rule names
    Shape theirs;         // of each source
    Move *moves;
    uint32_t move_count;
    uint32_t *sources;  // indices of theirs, one a part
    int64_t parts;      // 1, or how many are stacked; 0: the initial value
} Fill;

bool fill_is_stack(const Fill *fill);

typedef struct {
    uint32_t ours;
    int64_t part;
} MapUse;

typedef struct {
    Str name;
    Shape shape;
    const MapRule *rule;  // the first that uses it
    Vec(MapUse) uses;
} Theirs;

typedef struct {
    const Mapping *mapping;
    const PlanTensor *ours;
    uint32_t our_count;
    Fill *fills;         // (our_count)
    Vec(Theirs) theirs;  // in the order of first use
    Map by_name;         // index + 1 into theirs
} MapPlan;

// The rest of a plan that has its mapping and ours. Every parameter is filled by one rule,
// every element of theirs taken by one; else an error.
MUST_USE bool map_plan_make(Diag *diag, Arena *arena, MapPlan *plan);

// ---- moving elements, of `bytes` bytes each

// Makes `after` of `before`; of a stack only its part.
void move_forward(const Move *m, int64_t part, size_t bytes, const void *before, void *after);
// The reverse; elements of `before` that `after` does not have stay as they are.
void move_back(const Move *m, int64_t part, size_t bytes, const void *after, void *before);
// All moves back, from ours to one part of theirs. The result is in the arena, or `ours`
// itself; zero bytes stand where a slice has left something out.
const void *moves_back(Arena *arena, const Fill *fill, int64_t part, size_t bytes,
                       const void *ours);
