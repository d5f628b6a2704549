// shape_rules.h: axes and type of an operation's result; one rule per name in the `shape`
// column of ops.def. Shared by the builder, the verifier and the reader; others ask through
// graph_rule_violation.
#pragma once

#include "ir/graph/graph.h"

// Which fields of GraphAttr an operation reads. All others must be empty or are ignored
// (graph_add clears them).
enum {
    ATTR_ALONG = 1 << 0,
    ATTR_TO = 1 << 1,
    ATTR_TYPE = 1 << 2,
    ATTR_AMOUNT = 1 << 3,
    ATTR_NUMBER = 1 << 4,
    ATTR_LEAF = 1 << 5,
    ATTR_BAND = 1 << 6,
};

unsigned op_attrs(GraphOp op);

typedef struct {
    const Graph *g;
    GraphOp op;
    const ValueId *in;
    uint32_t arity;
    GraphAttr attr;
    // The answer.
    AxisId axes[GRAPH_MAX_RANK];
    uint8_t rank;
    DType type;
} ShapeQuery;

// Fills the answer. NULL if the rule is kept, else why not (text in the graph's arena).
const char *shape_infer(ShapeQuery *q);
