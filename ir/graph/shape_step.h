// shape_step.h: what the files of shape rules share. Private to shape_*.c.
#pragma once

#include "ir/graph/shape_rules.h"

// The text of a broken rule, in the graph's arena.
const char *shape_violation(const ShapeQuery *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
// "f32[B=8, T=?, d=64]": only built for a violation.
const char *shape_text(const ShapeQuery *q, const Value *v);

const char *shape_linear(ShapeQuery *q);
const char *shape_group_order(ShapeQuery *q);
const char *shape_contract_at(ShapeQuery *q);
const char *shape_contract_into(ShapeQuery *q);
