// init.c: initial values. All arithmetic is in double; the result is rounded once, to the
// tensor's type.
#include "runtime/init.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/rng.h"

// The numbers of a tensor depend on its name, not on its index or its neighbours.
static uint64_t stream_of(Str name, uint64_t seed) {
    Hash h = hash_bytes(name.ptr, name.len);
    return rng_u64(seed ^ h.hi, h.lo);
}

static double transformed(const PlanInit *init, double x) {
    switch ((DrawMap)init->transform) {
    case MAP_AS_IS: return x;
    case MAP_LOG: return log(x);
    case MAP_SOFTPLUS_INVERSE: return x + log(-expm1(-x));  // log(expm1(x)) without overflow
    case MAP_COUNT: break;
    }
    BUG("transform %u", init->transform);
}

static double fan_in_deviation(const PlanTensor *t) {
    double product = 1;
    for (uint32_t i = 0; i < t->input_count; i++)
        product *= (double)t->shape[t->batch_count + i];
    return 1 / sqrt(product);
}

// Element i of all kinds that are drawn one by one.
static double drawn(const PlanTensor *t, uint64_t stream, int64_t i) {
    const PlanInit *init = &t->init;
    uint64_t counter = (uint64_t)i;
    switch ((DrawKind)init->kind) {
    case DRAW_CONSTANT: return init->a;
    case DRAW_NORMAL: return init->a * rng_normal(stream, counter);
    case DRAW_UNIFORM: return init->a + (init->b - init->a) * rng_uniform(stream, counter);
    case DRAW_LOG_UNIFORM: {
        double low = log(init->a), high = log(init->b);
        return exp(low + (high - low) * rng_uniform(stream, counter));
    }
    case DRAW_FAN_IN: return fan_in_deviation(t) * rng_normal(stream, counter);
    case DRAW_IDENTITY: {
        int64_t columns = t->shape[t->rank - 1], rows = t->shape[t->rank - 2];
        return i % columns == i / columns % rows ? init->a : 0;
    }
    case DRAW_UNIT: return (double)(i % t->shape[t->rank - 1]) == init->a ? init->b : 0;
    case DRAW_ORTHOGONAL:
    case DRAW_COUNT: break;
    }
    BUG("initialiser %u", init->kind);
}

// Eight sums, so that the order of additions is the same with and without vectors.
static double dot(const double *x, const double *y, int64_t n) {
    double sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int k = 0; k < 8; k++)
            sum[k] += x[i + k] * y[i + k];
    }
    for (; i < n; i++)
        sum[0] += x[i] * y[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

// Makes `count` vectors of `length` >= count orthonormal, in order (Gram-Schmidt, each vector
// twice, which is enough for full precision: "twice is enough", Giraud et al. 2005). This is
// the Q of a QR factorisation whose R has a positive diagonal, so it is unique and, from normal
// vectors, uniformly distributed.
static void orthonormalise(double *vectors, int64_t count, int64_t length) {
    for (int64_t i = 0; i < count; i++) {
        double *v = vectors + i * length;  // (length)
        for (int64_t j = 0; j < 2 * i; j++) {
            const double *u = vectors + j % i * length;  // (length)
            double along = dot(u, v, length);
            for (int64_t k = 0; k < length; k++)
                v[k] -= along * u[k];
        }
        double norm = sqrt(dot(v, v, length));
        ASSERT(norm > 0);
        for (int64_t k = 0; k < length; k++)
            v[k] /= norm;
    }
}

// One matrix of inputs x outputs, from element `first` of the tensor. Its shorter side counts
// the vectors: columns are orthonormal in a tall matrix, rows in a wide one.
static void draw_orthogonal(const PlanTensor *t, uint64_t stream, int64_t first, Arena *scratch,
                            void *out) {
    uint32_t inner = t->batch_count + t->input_count;
    int64_t rows = extents_product(t->shape + t->batch_count, t->input_count),
            columns = extents_product(t->shape + inner, t->rank - inner);
    bool tall = rows >= columns;
    int64_t count = tall ? columns : rows, length = tall ? rows : columns;
    ArenaMark mark = arena_mark(scratch);
    double *vectors = arena_array(scratch, double, count *length);  // (count, length)
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            double x = rng_normal(stream, (uint64_t)(first + r * columns + c));
            vectors[tall ? c * length + r : r * length + c] = x;
        }
    }
    orthonormalise(vectors, count, length);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            double q = t->init.a * vectors[tall ? c * length + r : r * length + c];
            dtype_set(t->type, out, first + r * columns + c, transformed(&t->init, q));
        }
    }
    arena_rewind(scratch, mark);
}

void init_tensor(const PlanTensor *t, uint64_t seed, void *out) {
    int64_t count = plan_tensor_count(t);
    uint64_t stream = stream_of(t->name, seed);
    if (t->init.kind != DRAW_ORTHOGONAL) {
        for (int64_t i = 0; i < count; i++)
            dtype_set(t->type, out, i, transformed(&t->init, drawn(t, stream, i)));
        return;
    }
    int64_t batches = extents_product(t->shape, t->batch_count);
    Arena scratch = {0};
    for (int64_t b = 0; b < batches; b++)
        draw_orthogonal(t, stream, b * (count / batches), &scratch, out);
    arena_release(&scratch);
}
