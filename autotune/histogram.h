// histogram.h: how many rows each group has where a grouped contraction is measured.
#pragma once

#include "ir/graph/graph.h"

typedef enum {
    HISTOGRAM_UNIFORM,  // every group is as likely as any other
    HISTOGRAM_ZIPF,     // group k as 1 / (k + 1)
} Histogram;

// What operand `list` (a GROUPED_X_ROWS, GROUPED_Y_ROWS or GROUPED_ENDS) of grouped contraction
// c holds where each row's group is drawn from the histogram, always the same.
void histogram_fill(const Graph *g, const Value *c, uint32_t list, Histogram histogram,
                    int32_t *out);
