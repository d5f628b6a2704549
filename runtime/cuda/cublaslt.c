// cublaslt.c: a row-major c = op(a) op(b) is a column-major c' = op(b)' op(a)', which is what
// the library computes fastest: operands change places and no layout says "row".
#include "runtime/cuda/cublaslt.h"

#include <pthread.h>

#include "base/check.h"
#include "base/library.h"

typedef struct LtHandle LtHandle;
typedef struct LtProduct LtProduct;        // cublasLtMatmulDesc_t
typedef struct LtLayout LtLayout;          // cublasLtMatrixLayout_t
typedef struct LtPreference LtPreference;  // cublasLtMatmulPreference_t
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

enum {
    LT_COMPUTE_F32 = 68,  // CUBLAS_COMPUTE_32F
    LT_TYPE_F32 = 0,
    LT_TYPE_F16 = 2,
    LT_TYPE_BF16 = 14,  // cudaDataType_t
    LT_PRODUCT_TRANSPOSE_A = 3,
    LT_PRODUCT_TRANSPOSE_B = 4,
    LT_LAYOUT_BATCHES = 5,
    LT_LAYOUT_BATCH_STRIDE = 6,
    LT_PREFER_WORKSPACE = 1,
    LT_PREFER_ALIGNMENT = 5,  // of a; of b, c and d: the next three
    LT_ALIGNMENT_MAX = 256,
};

typedef struct {
#define CUBLASLT_FUNCTION(name, symbol, ...) int (*name)(__VA_ARGS__);
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT_FUNCTION
} LtTable;

// ---- the library

// Opened at most once in a process and never closed.
static struct {
    pthread_once_t once;
    bool found;
    LtTable table;
} library = {.once = PTHREAD_ONCE_INIT};

static void cublaslt_find(void) {
    static const char *const places[] = {"libcublasLt.so.13", "libcublasLt.so.12",
                                         "libcublasLt.so",
                                         "/usr/local/cuda*/lib64/libcublasLt.so*"};
    static const char *const symbols[] = {
#define CUBLASLT_FUNCTION(name, symbol, ...) #symbol,
#include "runtime/cuda/cublaslt.def"
#undef CUBLASLT_FUNCTION
    };
    static const LibrarySpec spec = {.variable = "STRATA_CUBLASLT",
                                     .file = "libcublasLt.so*",
                                     .places = places,
                                     .place_count = sizeof places / sizeof *places,
                                     .symbols = symbols,
                                     .symbol_count = sizeof symbols / sizeof *symbols};
    _Static_assert(sizeof symbols == sizeof(LtTable), "a pointer for each symbol");
    const char *lacks;
    library.found = library_open(&spec, &library.table, &lacks);
}

bool cublaslt_available(void) {
    pthread_once(&library.once, cublaslt_find);
    return library.found;
}

static bool cublaslt_need(Diag *diag) {
    if (cublaslt_available()) return true;
    return diag_fail(diag, FAIL_ENVIRONMENT,
                     "no contraction can be made by cuBLASLt: libcublasLt.so was not found "
                     "(install it or set STRATA_CUBLASLT)");
}

bool cublaslt_version(Diag *diag, Arena *arena, Str *out) {
    enum { PARTS = 3 };  // libraryPropertyType: major, minor, patch
    int parts[PARTS] = {0};
    if (!cublaslt_need(diag)) return false;
    for (int i = 0; i < PARTS; i++)
        if (library.table.property(i, &parts[i])) parts[i] = 0;
    *out = str_printf(arena, "%d.%d.%d", parts[0], parts[1], parts[2]);
    return true;
}

struct Cublaslt {
    Arena *arena;
    LtHandle *handle;
    CublasltGemm *gemms;  // a list of all that were prepared
};

bool cublaslt_open(Diag *diag, Arena *arena, Cublaslt **out) {
    *out = NULL;
    if (!cublaslt_need(diag)) return false;
    Cublaslt *lt = arena_new(arena, Cublaslt);
    lt->arena = arena;
    int error = library.table.create(&lt->handle);
    if (error)
        return diag_fail(diag, FAIL_ENVIRONMENT, "cuBLASLt does not start: error %d", error);
    *out = lt;
    return true;
}

// ---- one contraction

enum { LAYOUT_A, LAYOUT_B, LAYOUT_C, LAYOUT_COUNT };

struct CublasltGemm {
    const Cublaslt *lt;
    CublasltGemm *next;
    LtProduct *product;
    LtLayout *layouts[LAYOUT_COUNT];
    LtAlgorithm algorithm;
    CublasltOperands operands;
    int64_t calls;                // one after another; the batch of each is the library's
    int64_t steps[LAYOUT_COUNT];  // bytes from a call's operand to the next's
};

static void gemm_release(CublasltGemm *g) {
    for (int i = 0; i < LAYOUT_COUNT; i++)
        if (g->layouts[i]) library.table.layout_free(g->layouts[i]);
    if (g->product) library.table.product_free(g->product);
}

void cublaslt_close(Cublaslt *lt) {
    if (!lt) return;
    for (CublasltGemm *g = lt->gemms; g; g = g->next)
        gemm_release(g);
    library.table.destroy(lt->handle);
}

static int lt_type(DType type) {
    switch (type) {
    case DTYPE_F32: return LT_TYPE_F32;
    case DTYPE_F16: return LT_TYPE_F16;
    case DTYPE_BF16: return LT_TYPE_BF16;
    case DTYPE_F64:
    case DTYPE_I32:
    case DTYPE_I64:
    case DTYPE_U8:
    case DTYPE_U16:
    case DTYPE_BOOL:
    case DTYPE_COUNT: break;
    }
    BUG("a contraction of elements %d", (int)type);
}

// The library knows one axis of batches: both of ours if they are one, else the inner.
typedef struct {
    int64_t count, strides[LAYOUT_COUNT];
} Batch;

static Batch batch_split(const PlanGemm *g, CublasltGemm *out) {
    const int64_t *const strides[] = {g->stride_a, g->stride_b, g->stride_c};
    const int64_t bytes[] = {(int64_t)dtype_bytes(g->type_ab), (int64_t)dtype_bytes(g->type_ab),
                             (int64_t)dtype_bytes(g->type_c)};
    bool one = g->batch[0] <= INT32_MAX / g->batch[1];
    for (int i = 0; i < LAYOUT_COUNT; i++)
        one &= strides[i][0] == strides[i][1] * g->batch[1];
    int inner = g->batch[1] == 1 ? 0 : 1;
    bool whole = one || g->batch[0] == 1 || g->batch[1] == 1;
    Batch batch = {.count = whole ? g->batch[0] * g->batch[1] : g->batch[1]};
    out->calls = whole ? 1 : g->batch[0];
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        batch.strides[i] = strides[i][inner];
        out->steps[i] = whole ? 0 : strides[i][0] * bytes[i];
    }
    return batch;
}

typedef struct {
    DType type;
    int64_t rows, columns, leading;  // as it is stored, row-major
} Stored;

static int layout_make(const Stored *s, const Batch *batch, int which, LtLayout **out) {
    int error = library.table.layout_new(out, lt_type(s->type), (uint64_t)s->columns,
                                         (uint64_t)s->rows, s->leading);
    int32_t count = (int32_t)batch->count;
    if (!error) error = library.table.layout_set(*out, LT_LAYOUT_BATCHES, &count, sizeof count);
    if (!error)
        error = library.table.layout_set(*out, LT_LAYOUT_BATCH_STRIDE, &batch->strides[which],
                                         sizeof batch->strides[which]);
    return error;
}

static int describe(const PlanGemm *g, CublasltGemm *out) {
    const Stored stored[] = {
        {g->type_ab, g->transpose_a ? g->k : g->m, g->transpose_a ? g->m : g->k, g->lda},
        {g->type_ab, g->transpose_b ? g->n : g->k, g->transpose_b ? g->k : g->n, g->ldb},
        {g->type_c, g->m, g->n, g->ldc},
    };
    Batch batch = batch_split(g, out);
    int error = library.table.product_new(&out->product, LT_COMPUTE_F32, LT_TYPE_F32);
    for (int i = 0; i < LAYOUT_COUNT && !error; i++)
        error = layout_make(&stored[i], &batch, i, &out->layouts[i]);
    // The library's first operand is our second.
    int32_t first = g->transpose_b, second = g->transpose_a;
    if (!error)
        error = library.table.product_set(out->product, LT_PRODUCT_TRANSPOSE_A, &first,
                                          sizeof first);
    if (!error)
        error = library.table.product_set(out->product, LT_PRODUCT_TRANSPOSE_B, &second,
                                          sizeof second);
    return error;
}

// The largest power of two that divides an operand's address in every call.
static uint32_t alignment_of(CuAddress address, int64_t step) {
    uint64_t bits = address | (uint64_t)step | LT_ALIGNMENT_MAX;
    return (uint32_t)(bits & -bits);
}

static int choose(CublasltGemm *g) {
    const LtTable *t = &library.table;
    const CublasltOperands *o = &g->operands;
    LtPreference *preference = NULL;
    uint64_t workspace = CUBLASLT_WORKSPACE;
    const uint32_t alignments[] = {
        alignment_of(o->b, g->steps[LAYOUT_B]), alignment_of(o->a, g->steps[LAYOUT_A]),
        alignment_of(o->c, g->steps[LAYOUT_C]), alignment_of(o->c, g->steps[LAYOUT_C])};
    int error = t->preference_new(&preference);
    if (error) return error;
    error = t->preference_set(preference, LT_PREFER_WORKSPACE, &workspace, sizeof workspace);
    for (int i = 0; i < 4 && !error; i++)
        error = t->preference_set(preference, LT_PREFER_ALIGNMENT + i, &alignments[i],
                                  sizeof alignments[i]);
    LtChoice choice = {0};
    int found = 0;
    if (!error)
        error = t->choose(g->lt->handle, g->product, g->layouts[LAYOUT_B], g->layouts[LAYOUT_A],
                          g->layouts[LAYOUT_C], g->layouts[LAYOUT_C], preference, 1, &choice,
                          &found);
    t->preference_free(preference);
    if (!error && !found) error = choice.state ? choice.state : -1;
    g->algorithm = choice.algorithm;
    return error;
}

bool cublaslt_prepare(Diag *diag, Cublaslt *lt, const PlanGemm *gemm, CublasltOperands operands,
                      CublasltGemm **out) {
    CublasltGemm *g = arena_new(lt->arena, CublasltGemm);
    *g = (CublasltGemm){.lt = lt, .next = lt->gemms, .operands = operands};
    lt->gemms = g;
    int error = describe(gemm, g);
    if (!error) error = choose(g);
    *out = g;
    if (!error) return true;
    return diag_fail(diag, FAIL_ENVIRONMENT,
                     "cuBLASLt has no way to multiply %lld x %lld x %lld %s: error %d",
                     (long long)gemm->m, (long long)gemm->n, (long long)gemm->k,
                     dtype_text(gemm->type_ab), error);
}

int cublaslt_run(const CublasltGemm *g, CuStream *stream) {
    static const float one = 1, zero = 0;
    CuAddress a = g->operands.a, b = g->operands.b, c = g->operands.c;
    for (int64_t i = 0; i < g->calls; i++) {
        int error = library.table.multiply(
            g->lt->handle, g->product, &one, b, g->layouts[LAYOUT_B], a, g->layouts[LAYOUT_A],
            &zero, c, g->layouts[LAYOUT_C], c, g->layouts[LAYOUT_C], &g->algorithm,
            g->operands.workspace, CUBLASLT_WORKSPACE, stream);
        if (error) return error;
        a += (uint64_t)g->steps[LAYOUT_A];
        b += (uint64_t)g->steps[LAYOUT_B];
        c += (uint64_t)g->steps[LAYOUT_C];
    }
    return 0;
}
