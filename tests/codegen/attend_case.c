// attend_case.c: see attend_case.h.
#include "tests/codegen/attend_case.h"

#include <string.h>

static AxisId axis(Graph *g, const char *name, int64_t extent) {
    return graph_axis(g, str_of(name), extent, false);
}

static ValueId leaf_of(Graph *g, const char *name, DType type, uint32_t rank,
                       const AxisId *axes) {
    Leaf l = {.kind = OP_INPUT,
              .path = str_of(name),
              .type = type,
              .rank = (uint8_t)rank,
              .axes = axes};
    return graph_leaf(g, &l);
}

static ValueId leaf(Graph *g, const char *name, uint32_t rank, const AxisId *axes,
                    bool turned) {
    AxisId order[GRAPH_MAX_RANK];
    for (uint32_t i = 0; i < rank; i++)
        order[(i + turned) % rank] = axes[i];
    return leaf_of(g, name, DTYPE_F32, rank, order);
}

Graph *attend_case_graph(Arena *arena, const AttendCase *c, bool gradients) {
    Graph *g = graph_new(arena, STR("test"));
    AxisId B = axis(g, "B", 2), T = axis(g, "T", c->T), S = axis(g, "S", c->S);
    AxisId h = axis(g, "h", c->heads), r = axis(g, "r", c->groups), d = axis(g, "d", c->d);
    AxisId e = axis(g, "e", c->e), along[3] = {d, T, S};
    ValueId in[9], more[3];
    uint32_t extra = 0;
    in[0] = leaf(g, "q", 5, (AxisId[]){B, T, h, r, d}, c->turned);
    in[1] = leaf(g, "k", 4, (AxisId[]){B, S, h, d}, c->turned);
    in[2] = leaf(g, "v", 4, (AxisId[]){B, S, h, e}, c->turned);
    GraphAttr attr = {.along = along, .along_count = 3, .number = 0.5, .band = c->band};
    if (c->start) more[extra++] = leaf_of(g, "start", DTYPE_I32, 1, &B);
    if (c->segments) {
        more[extra++] = leaf_of(g, "segment", DTYPE_I32, 2, (AxisId[]){B, T});
        more[extra++] = leaf_of(g, "other", DTYPE_I32, 2, (AxisId[]){B, S});
    }
    ValueId sums[5] = {in[0], in[1]};
    memcpy(sums + 2, more, extra * sizeof *more);
    ValueId made = graph_add(g, OP_ATTEND_LSE, (Operands){sums, 2 + extra}, attr, (Span){0});
    if (!gradients) {
        memcpy(in + 3, more, extra * sizeof *more);
        graph_output(g, STR("y"),
                     graph_add(g, OP_ATTEND, (Operands){in, 3 + extra}, attr, (Span){0}));
        graph_output(g, STR("lse"), made);
        return g;
    }
    const Value *lse = graph_value(g, made);
    AxisId rows[GRAPH_MAX_RANK];
    uint32_t count = lse->rank;
    memcpy(rows, lse->axes, count * sizeof *rows);
    in[4] = leaf(g, "lse", count, rows, false);
    in[5] = leaf(g, "delta", count, rows, false);
    rows[count] = e;
    in[3] = leaf(g, "g", count + 1, rows, false);
    memcpy(in + 6, more, extra * sizeof *more);
    graph_output(g, STR("dq"),
                 graph_add(g, OP_ATTEND_DQ, (Operands){in, 6 + extra}, attr, (Span){0}));
    graph_output(g, STR("dk"),
                 graph_add(g, OP_ATTEND_DK, (Operands){in, 6 + extra}, attr, (Span){0}));
    graph_output(g, STR("dv"),
                 graph_add(g, OP_ATTEND_DV, (Operands){in, 6 + extra}, attr, (Span){0}));
    return g;
}

void attend_case_narrow(TileProgram *p, DType type) {
    for (uint32_t i = 1; i < p->ops.len; i++) {
        const TileOp *dot = &p->ops.ptr[i];
        for (int k = 0; dot->kind == TILE_DOT && k < 2; k++) {
            const TileOp *in = tile_op(p, dot->in[k]);
            if (in->kind == TILE_LOAD) p->args.ptr[in->access.arg].type = type;
        }
    }
}
