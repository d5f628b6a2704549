// loop_group.c: LOOP_CP: points of the grid that share the rows of m, or the k, among them: the
// groups of rows of a grouped contraction. How many each has is known when the kernel runs.
//
// Tiles of rows are numbered through all points. There are never more than the rows and a part
// of a tile for each point make, which is what the grid has; a block looks in the points'
// limits for its tile, and ends if there are fewer.
#include "base/check.h"
#include "codegen/cuda/loop_cp.h"

const char *cp_limit_find(Cp *c) {
    const TileProgram *p = c->w->p;
    c->limited = -1;
    vec_each (const TileOp, op, &p->ops) {
        if (op->kind != TILE_LIMIT) continue;
        if (c->limit.i) return "it has two limits";
        c->limit = op->in[0];
        c->limited = op->over == dim_set(c->m) ? c->m : c->k_last;
        if (op->over != dim_set(c->limited) || (c->limited != c->m && c->k_first != c->k_last))
            return "one of several k has a limit";
        int64_t points = 1;
        for (int d = 0; d < c->m; d++)
            if (op->dims & dim_set(d)) points *= cp_extent(c, d);
        *(c->limited == c->m ? &c->shape.sharing_m : &c->shape.sharing_k) = points;
    }
    return NULL;
}

// The limit at a point of the grid, whose values are printed before it.
static Str limit_print(const Cp *c) {
    CudaWriter *w = c->w;
    bool *which = arena_array(w->arena, bool, w->p->ops.len);
    values_mark(w->p, c->limit, which);
    Values v = values_new(w);
    Run grid = {.along = -1, .width = 1, .first = c->at};
    values_print(&v, &grid, which, which);
    return v.known[c->limit.i];
}

void cp_group_find(Cp *c) {
    CudaWriter *w = c->w;
    long long points = c->shape.points, share = (points + 31) / 32;
    cuda_line(w, "// A lane has the tiles of %lld points of the grid.", share);
    cuda_open(w, "auto tiles_of = [&](int point)");
    cuda_line(w, "if (point >= %lld) return 0;", points);
    cp_grid_print(c, "point", 1);
    Str limit = limit_print(c);
    cuda_line(w, "return (%.*s + %d) / %d;", STR_ARG(limit), c->tiles.bm - 1, c->tiles.bm);
    w->indent--;
    cuda_line(w, "};");
    cuda_line(w, "int tiles = 0;");
    cuda_line(w, "_Pragma(\"unroll 8\") for (int i = 0; i < %lld; i++)", share);
    cuda_line(w, "    tiles += tiles_of(lane * %lld + i);", share);
    cuda_line(w, "int tiles_end = tiles;  // of this lane and those before");
    cuda_open(w, "UNROLL for (int step = 1; step < 32; step *= 2)");
    cuda_line(w, "const int before = __shfl_up_sync(~0U, tiles_end, step);");
    cuda_line(w, "if (lane >= step) tiles_end += before;");
    cuda_close(w);
    cuda_line(w, "int tiles_first = tiles_end - tiles, own_point = lane * %lld;", share);
    cuda_line(w, "const bool has_tile = tiles_first <= row_tile && row_tile < tiles_end;");
    cuda_line(w, "const int owner = __ffs((int)__ballot_sync(~0U, has_tile)) - 1;");
    cuda_line(w, "if (owner < 0) return;");
    cuda_open(w, "while (has_tile)");
    cuda_line(w, "const int next = tiles_first + tiles_of(own_point);");
    cuda_line(w, "if (row_tile < next) break;");
    cuda_line(w, "tiles_first = next;");
    cuda_line(w, "own_point++;");
    cuda_close(w);
    cuda_line(w, "const int point = __shfl_sync(~0U, own_point, owner);");
    cuda_line(w, "const int m_first = (row_tile - __shfl_sync(~0U, tiles_first, owner)) * %d;",
              c->tiles.bm);
}

void cp_steps_find(const Cp *c) {
    CudaWriter *w = c->w;
    cuda_line(w, "int steps;");
    cuda_line(w, "{");
    w->indent++;
    Str limit = limit_print(c);
    cuda_line(w, "steps = (%.*s + %d) / %d;", STR_ARG(limit), c->tiles.bk - 1, c->tiles.bk);
    cuda_close(w);
}
