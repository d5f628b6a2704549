// grouped.h: how the operands of grouped contractions lie (GROUP_ORDER, CONTRACT_AT and
// CONTRACT_INTO in ops.def).
//
// A row is one place of an index that chooses a group for it: axes that number rows come first,
// in storage order, and after them those of a row's elements. Row j of a list (GROUP_ORDER) is
// the j-th in the order of groups; group g has the rows [ends[g - 1], ends[g]) of lists.
#pragma once

#include "ir/graph/graph.h"

enum { GROUPED_X, GROUPED_Y, GROUPED_X_ROWS, GROUPED_Y_ROWS, GROUPED_ENDS, GROUPED_OPERANDS };

// Of CONTRACT_AT: x is [rows, inner], y the matrices [groups, inner, outer] in any order, r
// [rows, outer]. Of CONTRACT_INTO: x is [rows, inner], y [rows, outer], r [groups, inner,
// outer] in any order.
typedef struct {
    AxisId groups, rows;                                  // rows: of the lists
    AxisId inner[GRAPH_MAX_RANK], outer[GRAPH_MAX_RANK];  // in storage order of x and of r or y
    uint8_t inner_count, outer_count;
} GroupedAxes;

GroupedAxes grouped_axes(const Graph *g, const Value *v);

// The axes that number the rows of what a CONTRACT_AT gives; of CONTRACT_INTO, which has none,
// 0.
typedef struct {
    const AxisId *axes;
    uint32_t count;
} GroupedRows;
GroupedRows grouped_rows(const Graph *g, const Value *v);

// Do rows of x, as numbered by these axes, lie at one distance from each other? *stride: that
// many elements; 0: all are one.
bool grouped_row_stride(const Graph *g, const GroupedRows *rows, ValueId x, int64_t *stride);
