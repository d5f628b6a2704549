// onednn.h: products of matrices by oneDNN, beside which generated contractions are measured.
// Where the build has no oneDNN, product_open returns false.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"

typedef struct {
    int64_t m, n, k;
    bool turned_a, turned_b;  // stored as (k, m) and as (n, k)
    DType type;               // of both operands, F32 or BF16; sums and the result are f32
} Shape;

enum { PRODUCT_A, PRODUCT_B, PRODUCT_Y, PRODUCT_ARRAYS };

// f32 calls dnnl_sgemm; bf16 is the primitive matmul, made here, with the default attributes.
typedef struct {
    Shape shape;
    void *const *data;  // A, B, Y; not owned
    struct dnnl_engine *engine;
    struct dnnl_stream *stream;
    struct dnnl_primitive *matmul;
    struct dnnl_memory *memories[PRODUCT_ARRAYS];
} Product;

void onednn_threads(int count);  // before the first product_open

// False: oneDNN is absent or refuses. The product may be closed either way.
bool product_open(Product *p, const Shape *shape, void *const data[PRODUCT_ARRAYS]);
bool product_run(Product *p);
void product_close(Product *p);
