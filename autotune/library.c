// library.c: reads a matrix product off the accesses of a LOOP program.
#include "autotune/library.h"

#include "base/check.h"
#include "runtime/cuda/cublaslt.h"
#include "runtime/gemm.h"

enum { A, B, C };

typedef struct {
    const TileProgram *p;
    const TileAccess *access[3];
    int m, n, k;  // dimensions; k: -1 if all have extent 1
    int batch[2];
    uint32_t batch_count;
} Product;

static bool is_plain(const TileOp *op) {
    const TileAccess *x = &op->access;
    return x->offset == 0 && x->guard[0].dim < 0 && x->guard[1].dim < 0;
}

// Two loads, their dot, its store.
static bool find_accesses(Product *x) {
    const TileOp *dot = NULL, *store = NULL;
    if (x->p->skeleton != TILE_LOOP || x->p->ops.len != 5) return false;
    for (uint32_t i = 1; i < x->p->ops.len; i++) {
        const TileOp *op = &x->p->ops.ptr[i];
        if (op->kind == TILE_DOT) dot = op;
        if (op->kind == TILE_STORE) store = op;
    }
    if (!dot || !store || tile_op(x->p, store->in[0]) != dot) return false;
    const TileOp *a = tile_op(x->p, dot->in[0]), *b = tile_op(x->p, dot->in[1]);
    if (a->kind != TILE_LOAD || b->kind != TILE_LOAD || a == b) return false;
    x->access[A] = &a->access;
    x->access[B] = &b->access;
    x->access[C] = &store->access;
    return is_plain(a) && is_plain(b) && is_plain(store);
}

// Two of one type become that type or f32.
static bool find_types(const Product *x, PlanGemm *out) {
    DType types[3];
    for (int i = 0; i < 3; i++)
        types[i] = x->p->args.ptr[x->access[i]->arg].type;
    out->type_ab = types[A];
    out->type_c = types[C];
    bool known = types[A] == DTYPE_F32 || types[A] == DTYPE_BF16 || types[A] == DTYPE_F16;
    return known && types[B] == types[A] && (types[C] == types[A] || types[C] == DTYPE_F32);
}

// Dimensions of extent 1 do not matter; of the others there may be one each, and two of grid.
static bool find_dims(Product *x) {
    x->m = tile_dim_of(x->p, DIM_M);
    x->n = tile_dim_of(x->p, DIM_N);
    x->k = -1;
    for (uint32_t d = 0; d < x->p->dim_count; d++) {
        const TileDim *dim = &x->p->dims[d];
        if (dim->extent == 1) continue;
        if (dim->role == DIM_K) {
            if (x->k >= 0) return false;
            x->k = (int)d;
        } else if (dim->role == DIM_GRID) {
            if (x->batch_count == 2) return false;
            x->batch[x->batch_count++] = (int)d;
        }
    }
    return x->m >= 0 && x->n >= 0;
}

static int64_t extent(const Product *x, int dim) {
    return dim < 0 ? 1 : x->p->dims[dim].extent;
}

static int64_t stride(const Product *x, int which, int dim) {
    return dim < 0 || extent(x, dim) == 1 ? 0 : x->access[which]->stride[dim];
}

// Rows one after another, or columns (then it is transposed).
static bool find_matrix(const Product *x, int which, const int dims[2], bool *transpose,
                        int64_t *leading) {
    int64_t rows = extent(x, dims[0]), columns = extent(x, dims[1]);
    int64_t row = rows == 1 ? columns : stride(x, which, dims[0]),
            column = columns == 1 ? 1 : stride(x, which, dims[1]);
    *transpose = false;
    *leading = row;
    if (column == 1 && row >= columns) return true;
    row = rows == 1 ? 1 : row;
    column = columns == 1 ? rows : column;
    *transpose = true;
    *leading = column;
    return row == 1 && column >= rows;
}

// A result that is stored by columns is the product of the transposed operands in the other
// order.
static void swap_operands(Product *x) {
    const TileAccess *access = x->access[A];
    x->access[A] = x->access[B];
    x->access[B] = access;
    int dim = x->m;
    x->m = x->n;
    x->n = dim;
}

bool library_gemm(const TileProgram *p, PlanGemm *out, uint32_t args[3]) {
    Product x = {.p = p, .batch = {-1, -1}};
    *out = (PlanGemm){0};
    if (!find_accesses(&x) || !find_types(&x, out) || !find_dims(&x)) return false;
    bool transpose_c;
    if (!find_matrix(&x, C, (int[]){x.m, x.n}, &transpose_c, &out->ldc)) return false;
    if (transpose_c) swap_operands(&x);
    if (!find_matrix(&x, A, (int[]){x.m, x.k}, &out->transpose_a, &out->lda) ||
        !find_matrix(&x, B, (int[]){x.k, x.n}, &out->transpose_b, &out->ldb))
        return false;
    out->m = extent(&x, x.m);
    out->n = extent(&x, x.n);
    out->k = extent(&x, x.k);
    for (int i = 0; i < 2; i++) {
        out->batch[i] = extent(&x, x.batch[i]);
        out->stride_a[i] = stride(&x, A, x.batch[i]);
        out->stride_b[i] = stride(&x, B, x.batch[i]);
        out->stride_c[i] = stride(&x, C, x.batch[i]);
    }
    for (int i = 0; i < 3; i++)
        args[i] = x.access[i]->arg;
    return true;
}

bool library_takes(IsaLevel level, const PlanGemm *g) {
    if (level_is_cuda(level)) return cublaslt_available();
    return gemm_available() && g->type_ab == DTYPE_F32;
}

static double batches(const PlanGemm *g) { return (double)g->batch[0] * (double)g->batch[1]; }

double gemm_flops(const PlanGemm *g) {
    return 2 * batches(g) * (double)g->m * (double)g->n * (double)g->k;
}

// An operand that a batch dimension does not move is read again, but from close by.
static double operand_elements(const PlanGemm *g, const int64_t strides[2], double elements) {
    for (int i = 0; i < 2; i++)
        if (strides[i]) elements *= (double)g->batch[i];
    return elements;
}

double gemm_bytes(const PlanGemm *g) {
    double m = (double)g->m, n = (double)g->n, k = (double)g->k;
    double operands =
        operand_elements(g, g->stride_a, m * k) + operand_elements(g, g->stride_b, k * n);
    return operands * (double)dtype_bytes(g->type_ab) +
           operand_elements(g, g->stride_c, m * n) * (double)dtype_bytes(g->type_c);
}
