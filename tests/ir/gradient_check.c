#include "tests/ir/gradient_check.h"

#include <float.h>
#include <math.h>

#include "ir/graph/passes.h"
#include "tests/test.h"

static double loss_at(GraphBench *b, ValueId loss, double *x, double value) {
    double before = *x;
    *x = value;
    ArenaMark mark = arena_mark(&b->arena);
    double y = bench_value(b, loss)[0];
    arena_rewind(&b->arena, mark);
    *x = before;
    return y;
}

// The central difference errs by h^2 |f'''| / 6 from its formula and by about eps |f| / h from
// rounding; h = cbrt(eps) balances them. The third derivative is unknown: inputs are chosen so
// that 64 (1 + |f'|) bounds its sixth.
static void check_element(GraphBench *b, ValueId loss, uint32_t leaf, int64_t i, double got) {
    double *x = &b->data.ptr[leaf][i];
    double h = cbrt(DBL_EPSILON) * fmax(1, fabs(*x));
    double above = loss_at(b, loss, x, *x + h), below = loss_at(b, loss, x, *x - h);
    double slope = (above - below) / (2 * h);
    double tolerance =
        64 * h * h * (1 + fabs(slope)) + 16 * DBL_EPSILON * (fabs(above) + fabs(below)) / h;
    if (fabs(got - slope) <= tolerance) return;
    fail_msg(
        "%s: leaf %u, element %lld: gradient %.12g, difference quotient %.12g, tolerance %.3g",
        b->label ? b->label : "", leaf, (long long)i, got, slope, tolerance);
}

void check_gradients_of(GraphBench *b, ValueId loss) {
    uint32_t leaves = b->data.len, count = 0;
    ValueId *wrt = arena_array(&b->arena, ValueId, leaves),
            *grads = arena_array(&b->arena, ValueId, leaves);
    uint32_t *leaf_of = arena_array(&b->arena, uint32_t, leaves);
    for (uint32_t i = 0; i < leaves; i++) {
        if (b->g->leaves.ptr[i].kind != OP_PARAM) continue;
        leaf_of[count] = i;
        wrt[count++] = b->g->leaf_values.ptr[i];
    }
    pass_differentiate(b->g, loss, wrt, count, grads);
    bench_verify(b, b->g);
    Evaluation e = bench_evaluation(b);
    for (uint32_t k = 0; k < count; k++) {
        const Value *v = graph_value(b->g, wrt[k]);
        bench_expect_axes(b, grads[k], v->axes, v->rank);
        const double *got = evaluation_value(&e, grads[k]);
        int64_t n = graph_elements(b->g, wrt[k]);
        for (int64_t i = 0; i < n; i++)
            check_element(b, loss, leaf_of[k], i, got[i]);
    }
}

void check_gradients(GraphBench *b, ValueId r) {
    const Value *v = graph_value(b->g, r);
    ValueId weights = bench_random(b, v->axes, v->rank, -1, 1);
    check_gradients_of(b, bench_total(b, bench_binary(b, OP_MUL, r, weights)));
}
