// lower.h: what the lowering of row regions and of contractions share. Private to
// region_to_tile.
//
// First the nest is settled: the region's axes in order, each of a class (grid, serial, col, m,
// n, k); neighbours of one class that every access walks with one stride become one dimension.
// Then values are emitted: a tile operation each, or one per point of the unrolled axes.
#pragma once

#include "ir/graph/grouped.h"
#include "ir/region_to_tile.h"

#define NEST_MAX_AXES 24

typedef struct {
    AxisId axis;
    TileRole role;
    int64_t extent;
    bool indexed;  // a guard or position refers to it: it stays apart from the axes that become
                   // COL with it
    int dim;       // set by nest_build: index of this axis = (index of dim / div) % extent
    int64_t div;
} NestAxis;

typedef struct {
    int64_t stride[NEST_MAX_AXES];  // per nest axis, in elements
} NestStrides;

typedef struct {
    NestAxis axes[NEST_MAX_AXES];
    uint32_t axis_count;
    Vec(NestStrides) accesses;  // of everything that will be loaded or stored
} Nest;

typedef struct {
    const Regions *regions;
    const Graph *graph;
    const Region *region;
    const Schedule *schedule;
    Arena *arena, *scratch;  // scratch: until the region is lowered
    Nest nest;
    TileProgram *program;
    Vec(TileBinding) bindings;  // one per argument of program
    bool *member;               // per value
    TileId **memo;              // per value: its tiles, one per point of the unrolled axes
    TileId dot;                 // CONTRACT, GROUPED: its value
    TileId row;                 // GROUPED: number of the result's row, where it is no dimension
    GroupedRows rows;           // that the number stands for, and how many there are
    int64_t row_count;
    int64_t parts;  // wanted number of partial sums of a sum over rows, or over k; nest_build
                    // sets what it got (1: whole)
    TileRole split_role;      // SERIAL or K: what the parts divide
    AxisId split_axis;        // LINEAR: this one instead
    int64_t skip;             // LINEAR: tokens in front that the program does not walk
    int part_dim, split_dim;  // in parts: the grid dimension of parts, and the one that they
                              // divide; -1: none
    bool sums_parts;  // the contraction is a sum of parts: `dot`, whose operands are not read
} Lower;

void lower_init(Lower *w, const Lower *of);  // a further program of its region

// ---- nest (lower_nest.c)
void nest_add(Lower *w, AxisId axis, TileRole role);
NestAxis *nest_find(Lower *w, AxisId axis);  // NULL: unrolled, of extent 1, or not of this nest
// Records every access that the members' operands and the outputs need, and which axes are
// indexed.
void nest_collect(Lower *w);
bool nest_joined(const Lower *w, uint32_t i);  // do axes i and i + 1 become one dimension?
// Makes the program's dimensions out of the nest's axes; only neighbours of one role join.
void nest_build(Lower *w);
// Orders the axes by role; strides of the recorded accesses follow.
void nest_sort(Lower *w);
// Strides of an access over the program's dimensions, from those over the nest's axes.
void nest_strides(const Lower *w, const NestStrides *by_axis, TileAccess *access);
// Strides per nest axis of operand k of v, of v as it lies in memory (through views), and of v
// stored densely.
NestStrides operand_strides(Lower *w, ValueId v, uint32_t k);
NestStrides value_strides(Lower *w, ValueId v);
NestStrides dense_strides(Lower *w, ValueId v);

// ---- values (lower_value.c)

// A point of the region's unrolled axes: one index for each, in the region's order.
typedef struct {
    int32_t index[REGION_MAX_UNROLLED];
} Point;
bool point_next(const Lower *w, const Value *v,
                Point *at);  // over the unrolled axes that v has; false: that was the last
uint32_t lower_argument(Lower *w, TileBinding binding, DType type, int64_t elements);
TileId lower_value(Lower *w, ValueId v, Point at);
// Stores every point of v: densely to its own memory, or (part >= 0) to partial buffer `part`.
void lower_store(Lower *w, ValueId v, int part);
// The member that output v is in all its elements, though perhaps of other axes.
ValueId lower_stored(const Lower *w, ValueId v);

// ---- regions of operations that stand alone
// The member with the most operands: of attention its results, of a recurrence not its state.
const Value *lower_member(const Lower *w);
// An operand, at least at these dims: where the value is repeated along one (a gradient of
// ones) a guard that always holds says that it stands there.
TileId lower_operand(Lower *w, ValueId v, DimSet dims, Span span);
GraphOp lower_output_op(const Lower *w, ValueId v);  // that an output is, perhaps rounded
// Stores x as every output that is this operation.
void lower_store_op(Lower *w, GraphOp op, TileId x);

// Shares cols out among tasks, where that is possible: in the schedule's tiles, or usual ones.
void lower_tile_cols(Lower *w);

// ---- contractions (lower_contract.c)
// From the collected accesses of a nest with axes for m, n and k: its dimensions, with the
// schedule's tiles and knobs.
void contract_nest_build(Lower *w);
TileId contract_dot(const Lower *w, TileId x, TileId y, Span span);  // over all of k

// ---- kinds of regions
TileKernels *lower_row(Lower *w);
TileKernels *lower_contract(Lower *w);
TileKernels *lower_attend(Lower *w);
// lower_attend_parts.c: what an attention over parts of the keys gave, rows r[e] and the
// logarithms of their sums: where they are, of value `v`, and the program that makes one of
// them.
enum { ATTEND_PART_ROWS, ATTEND_PART_SUMS, ATTEND_PARTS };
TileAccess attend_part_access(Lower *w, ValueId v, uint32_t which, int64_t parts, int dim);
int64_t attend_part_bytes(const Graph *g, ValueId v, uint32_t which, int64_t parts);
TileKernel attend_parts_join(const Lower *w, ValueId v, int64_t parts);
TileKernels *lower_linear(Lower *w);
TileKernels *lower_grouped(Lower *w);
TileKernels *lower_order(Lower *w);
