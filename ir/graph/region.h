// region.h: groups of values that share a kernel. Made by pass_fuse; one region becomes one
// tile program.
#pragma once

#include "ir/graph/graph.h"

typedef enum {
    REGION_ROW,       // maps and reductions: rows are independent, or summed
    REGION_CONTRACT,  // one contraction with elementwise prologue and epilogue
    REGION_ATTEND,    // attention, or its gradients
    REGION_LINEAR,    // linear attention and its final state, or gradients
    REGION_GROUPED,   // a grouped contraction with an elementwise epilogue
    REGION_ORDER,     // the order of groups
} RegionKind;

// Axes that the kernels of a region may unroll; a value has fewer.
enum { REGION_MAX_UNROLLED = 128 };

// Values in memory begin at multiples of this many bytes.
#define REGION_ALIGNMENT 64

typedef struct {
    RegionKind kind;
    Str name;               // readable and unique: "rms_norm.3"
    const ValueId *values;  // members in graph order; views are no members
    uint32_t value_count;
    const ValueId *inputs;  // materialised values read (never views: their base)
    uint32_t input_count;
    const ValueId *outputs;  // members that are kept in memory, and points of members' unrolled
                             // axes that the graph wants
    uint32_t output_count;
    const AxisId *cols;  // ROW: axes that lie along the tile's columns, in storage order
    uint32_t col_count;
    const AxisId *unrolled;  // ROW: small axes (depth) whose points are separate tiles
    uint32_t unrolled_count;
    ValueId contract;  // CONTRACT, GROUPED: the contraction
} Region;

// Where a value lives.
typedef enum {
    HOME_NONE,      // nothing needs it
    HOME_LEAF,      // a parameter, state or input
    HOME_INLINE,    // a cheap expression of constants, positions and small parameters: written
                    // out where it is used
    HOME_CONSTANT,  // depends on no leaf: computed once, when compiling
    HOME_VIEW,      // an addressing of another value
    HOME_COMPUTED,  // by a region
} ValueHome;

typedef struct {
    const Graph *graph;
    const ValueHome *homes;
    // Per value: the stack in whose memory it lies, at its place among the operands; {0}: none.
    // No region stores such a stack.
    const ValueId *laid_in;
    Region *regions;  // in an order that can be executed
    uint32_t count;
    // Why each pair that could have been one kernel is not: for `explain`.
    struct Refusal {
        ValueId producer, consumer;
        const char *reason;
    } * refusals;
    uint32_t refusal_count;
} Regions;

// requires: simplified graph, every axis bound.  ensures: every value that an output or update
// needs is in exactly one region, or is a leaf, a constant or a view; regions are in
// topological order.
Regions *pass_fuse(const Graph *g, Arena *arena);

// One per value; every axis must be bound.
ValueHome *value_homes(const Graph *g, Arena *arena);

// How a value is found in memory: as elements of another, materialised, value.
typedef struct {
    ValueId base;  // itself, if it is materialised
    int64_t offset;
    int64_t stride[GRAPH_MAX_RANK];  // per axis of the value, in elements of base; 0 for a
                                     // broadcast axis
} ValueLayout;
ValueLayout value_layout(const Graph *g,
                         ValueId v);  // follows views as far as strides can say them

// Is v all elements of its base, in their order?
bool value_is_whole(const Graph *g, ValueId v);

const char *region_kind_text(RegionKind kind);  // "row"
void regions_print(const Regions *r, StrBuf *out);
