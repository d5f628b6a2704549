// shape_step.h: what the files of shape rules share. Private to shape_*.c.
#pragma once

#include "ir/graph/shape_rules.h"

// The text of a broken rule, in the graph's arena.
const char *shape_violation(const ShapeQuery *q, const char *fmt, ...) PRINTF_LIKE(2, 3);
// "f32[B=8, T=?, d=64]": only built for a violation.
const char *shape_text(const ShapeQuery *q, const Value *v);

// Rules that several operations have.
void take_shape(ShapeQuery *q, const Value *v);
const char *need_counts(const ShapeQuery *q, uint32_t along, uint32_t to);
const char *need_axes(const ShapeQuery *q, const Value *x, const AxisId *list, uint32_t count);
const char *need_new(const ShapeQuery *q, const Value *x, const AxisId *list, uint32_t count);
const char *need_distinct(const ShapeQuery *q, const AxisId *list, uint32_t count,
                          const char *name);
const char *need_type(const ShapeQuery *q, const Value *x, DType type);

const char *shape_attend(ShapeQuery *q);
const char *shape_linear(ShapeQuery *q);
const char *shape_group_order(ShapeQuery *q);
const char *shape_contract_at(ShapeQuery *q);
const char *shape_contract_into(ShapeQuery *q);
