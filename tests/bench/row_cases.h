// row_cases.h: what bench_rows.c measures: attention over depth, norms, softmax, AdamW.
#pragma once

#include "ir/graph/graph.h"

typedef struct {
    const char *name;
    int64_t rows, cols;
    DType storage;  // of rows: F32 or BF16
} RowCase;

typedef struct {
    Graph *graph;
    bool several_kernels;  // hand rows on from one to the next
} RowGraph;

const RowCase *row_case(uint32_t i);  // NULL: there are no more
RowGraph row_graph(Arena *arena, uint32_t i, int64_t rows);
