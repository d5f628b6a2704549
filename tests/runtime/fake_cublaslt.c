// fake_cublaslt.c: the functions of runtime/cuda/cublaslt.def over column-major matrices, with
// plain loops.
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "runtime/cuda/cublaslt.h"
#include "tests/runtime/fake_stream.h"

typedef struct {
    int transpose[2];
} LtProduct;
typedef struct {
    DType type;
    int64_t rows, columns, leading, batches, stride;
} LtLayout;
typedef struct LtHandle LtHandle;
typedef struct {
    uint32_t alignment[4];
} LtPreference;
typedef struct {
    uint64_t data[8];
} LtAlgorithm;
typedef struct {
    LtAlgorithm algorithm;
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} LtChoice;

enum { OK = 0, INVALID = 7, UNSUPPORTED = 15, ALGORITHM = 4711 };

#define CUBLASLT_FUNCTION(name, symbol, ...) int symbol(__VA_ARGS__);
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT_FUNCTION

static int make(size_t bytes, void **out) {
    *out = calloc(1, bytes);
    if (*out) fake_object_count(1);
    return *out ? OK : INVALID;
}

static int release(void *object) {
    free(object);
    fake_object_count(-1);
    return OK;
}

int cublasLtGetProperty(int property, int *value) {
    *value = 13 - property;
    return property < 0 || property > 2 ? INVALID : OK;
}

int cublasLtCreate(LtHandle **out) {
    void *object = NULL;
    int injected = fake_error("cublasLtCreate");
    if (injected) return injected;
    int error = make(1, &object);
    *out = object;
    return error;
}

int cublasLtDestroy(LtHandle *handle) { return release(handle); }

int cublasLtMatmulDescCreate(LtProduct **out, int compute, int scale_type) {
    void *object = NULL;
    int injected = fake_error("cublasLtMatmulDescCreate");
    if (injected) return injected;
    int error = make(sizeof **out, &object);
    *out = object;
    return compute == 68 && scale_type == 0 ? error : INVALID;
}

int cublasLtMatmulDescSetAttribute(LtProduct *product, int attribute, const void *value,
                                   size_t bytes) {
    if (attribute < 3 || attribute > 4 || bytes != sizeof(int)) return INVALID;
    memcpy(&product->transpose[attribute - 3], value, bytes);
    return OK;
}

int cublasLtMatmulDescDestroy(LtProduct *product) { return release(product); }

int cublasLtMatrixLayoutCreate(LtLayout **out, int type, uint64_t rows, uint64_t columns,
                               int64_t leading) {
    void *object = NULL;
    int injected = fake_error("cublasLtMatrixLayoutCreate");
    if (injected) return injected;
    int error = make(sizeof **out, &object);
    *out = object;
    if (error) return error;
    **out = (LtLayout){.type = type == 0    ? DTYPE_F32
                               : type == 2  ? DTYPE_F16
                               : type == 14 ? DTYPE_BF16
                                            : DTYPE_COUNT,
                       .rows = (int64_t)rows,
                       .columns = (int64_t)columns,
                       .leading = leading,
                       .batches = 1};
    return (*out)->type == DTYPE_COUNT || leading < (int64_t)rows ? INVALID : OK;
}

int cublasLtMatrixLayoutSetAttribute(LtLayout *layout, int attribute, const void *value,
                                     size_t bytes) {
    int32_t batches;
    if (attribute == 5 && bytes == sizeof batches) {
        memcpy(&batches, value, bytes);
        layout->batches = batches;
        return OK;
    }
    if (attribute != 6 || bytes != sizeof layout->stride) return INVALID;
    memcpy(&layout->stride, value, bytes);
    return OK;
}

int cublasLtMatrixLayoutDestroy(LtLayout *layout) { return release(layout); }

int cublasLtMatmulPreferenceCreate(LtPreference **out) {
    void *object = NULL;
    int error = make(sizeof **out, &object);
    *out = object;
    return error;
}

int cublasLtMatmulPreferenceSetAttribute(LtPreference *preference, int attribute,
                                         const void *value, size_t bytes) {
    if (attribute == 1) return bytes == sizeof(uint64_t) ? OK : INVALID;
    if (attribute < 5 || attribute > 8 || bytes != sizeof(uint32_t)) return INVALID;
    memcpy(&preference->alignment[attribute - 5], value, bytes);
    return OK;
}

int cublasLtMatmulPreferenceDestroy(LtPreference *preference) { return release(preference); }

// NOLINTNEXTLINE(readability-function-size): the library's parameters
int cublasLtMatmulAlgoGetHeuristic(LtHandle *handle, LtProduct *product, LtLayout *a,
                                   LtLayout *b, LtLayout *c, LtLayout *d,
                                   LtPreference *preference, int wanted, LtChoice *out,
                                   int *found) {
    int injected = fake_error("cublasLtMatmulAlgoGetHeuristic");
    if (injected) return injected;
    (void)handle;
    fake_log("choose %lld x %lld x %lld aligned %u %u %u\n", (long long)c->rows,
             (long long)c->columns, (long long)(product->transpose[0] ? a->rows : a->columns),
             preference->alignment[0], preference->alignment[1], preference->alignment[2]);
    if (wanted != 1 || c != d || a->type != b->type) return INVALID;
    *out = (LtChoice){.algorithm = {{ALGORITHM}}};
    *found = 1;
    return OK;
}

// ---- the product

typedef struct {
    LtProduct product;
    LtLayout a, b, c;
    CuAddress at_a, at_b, at_c;
} Work;
_Static_assert(sizeof(Work) <= sizeof((FakeOp){0}.description), "fits in an operation");

static double element(const LtLayout *l, CuAddress at, int64_t batch, int64_t row,
                      int64_t column) {
    return dtype_get(l->type, fake_pointer(at), batch * l->stride + column * l->leading + row);
}

static void multiply(const void *description) {
    Work w;
    memcpy(&w, description, sizeof w);
    int64_t inner = w.product.transpose[0] ? w.a.rows : w.a.columns;
    for (int64_t n = 0; n < w.c.batches; n++)
        for (int64_t i = 0; i < w.c.rows; i++)
            for (int64_t j = 0; j < w.c.columns; j++) {
                double sum = 0;
                for (int64_t k = 0; k < inner; k++)
                    sum += (w.product.transpose[0] ? element(&w.a, w.at_a, n, k, i)
                                                   : element(&w.a, w.at_a, n, i, k)) *
                           (w.product.transpose[1] ? element(&w.b, w.at_b, n, j, k)
                                                   : element(&w.b, w.at_b, n, k, j));
                dtype_set(w.c.type, fake_pointer(w.at_c), n * w.c.stride + j * w.c.leading + i,
                          sum);
            }
}

// NOLINTNEXTLINE(readability-function-size): the library's parameters
int cublasLtMatmul(LtHandle *handle, LtProduct *product, const void *alpha, CuAddress a,
                   LtLayout *a_layout, CuAddress b, LtLayout *b_layout, const void *beta,
                   CuAddress c, LtLayout *c_layout, CuAddress d, LtLayout *d_layout,
                   const LtAlgorithm *algorithm, CuAddress workspace, size_t workspace_bytes,
                   CuStream *stream) {
    int injected = fake_error("cublasLtMatmul");
    if (injected) return injected;
    (void)handle;
    float one, zero;
    memcpy(&one, alpha, sizeof one);
    memcpy(&zero, beta, sizeof zero);
    if (one != 1 || zero != 0 || c != d || c_layout != d_layout || !workspace ||
        workspace_bytes != CUBLASLT_WORKSPACE || algorithm->data[0] != ALGORITHM)
        return INVALID;
    fake_log("multiply\n");
    Work work = {*product, *a_layout, *b_layout, *c_layout, a, b, c};
    FakeOp op = {.kind = FAKE_CALL, .call = multiply};
    memcpy(op.description, &work, sizeof work);
    fake_submit(stream, op);
    return OK;
}
