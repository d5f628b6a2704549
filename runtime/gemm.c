// gemm.c: contractions in f32. The result is cut into blocks whose sizes depend on nothing;
// each block is one call of the library on one thread, so that our pool alone decides how many
// threads run.
#include "runtime/gemm.h"

#include <string.h>

#include "base/check.h"
#include "base/integer.h"

#ifdef STRATA_HAVE_DNNL
#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#endif

enum { BLOCK_ROWS = 256, BLOCK_COLUMNS = 256 };

// One block of one product, as row-major pointers into the operands.
typedef struct {
    const PlanGemm *gemm;
    int64_t rows, columns;
    const float *a,
        *b;    // (m, k) and (k, n), or transposed, from the block's first row and column
    float *c;  // (rows, columns) with leading dimension ldc
} Block;

typedef void SetThreads(int threads);

typedef struct {
    const PlanGemm *gemm;
    const float *a, *b;
    float *c;
    int64_t row_blocks, column_blocks;
    SetThreads *set_threads;  // of the library's own thread pool; NULL: it has none
} GemmJob;

#ifdef STRATA_HAVE_DNNL

bool gemm_available(void) { return true; }

// oneDNN with OpenMP takes its number of threads from a setting of the calling thread.
static SetThreads *find_set_threads(void) {
    void *symbol = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    SetThreads *function;
    memcpy(&function, &symbol, sizeof function);
    return function;
}

static void run_block(const Block *block) {
    const PlanGemm *g = block->gemm;
    dnnl_status_t status = dnnl_sgemm(g->transpose_a ? 'T' : 'N', g->transpose_b ? 'T' : 'N',
                                      block->rows, block->columns, g->k, 1.0F, block->a, g->lda,
                                      block->b, g->ldb, 0.0F, block->c, g->ldc);
    if (status != dnnl_success) BUG("dnnl_sgemm answers %d", (int)status);
}

#else

bool gemm_available(void) { return false; }

static SetThreads *find_set_threads(void) { return NULL; }

static void add_scaled(float *c, const float *b, int64_t step, int64_t n, float scale) {
    for (int64_t j = 0; j < n; j++)
        c[j] += scale * b[j * step];
}

static void run_block(const Block *block) {
    const PlanGemm *g = block->gemm;
    int64_t a_row = g->transpose_a ? 1 : g->lda, a_column = g->transpose_a ? g->lda : 1;
    int64_t b_row = g->transpose_b ? 1 : g->ldb, b_column = g->transpose_b ? g->ldb : 1;
    for (int64_t i = 0; i < block->rows; i++) {
        float *c = block->c + i * g->ldc;  // (columns)
        memset(c, 0, (size_t)block->columns * sizeof *c);
        for (int64_t p = 0; p < g->k; p++) {
            float scale = block->a[i * a_row + p * a_column];
            add_scaled(c, block->b + p * b_row, b_column, block->columns, scale);
        }
    }
}

#endif

// Task: (batch 0, batch 1, row block, column block), the last fastest.
static void run_task(const GemmJob *job, int64_t task) {
    const PlanGemm *g = job->gemm;
    int64_t column = task % job->column_blocks * BLOCK_COLUMNS;
    task /= job->column_blocks;
    int64_t row = task % job->row_blocks * BLOCK_ROWS;
    task /= job->row_blocks;
    int64_t i = task / g->batch[1], j = task % g->batch[1];
    Block block = {
        .gemm = g,
        .rows = int_min(BLOCK_ROWS, g->m - row),
        .columns = int_min(BLOCK_COLUMNS, g->n - column),
        .a = job->a + i * g->stride_a[0] + j * g->stride_a[1] +
             row * (g->transpose_a ? 1 : g->lda),
        .b = job->b + i * g->stride_b[0] + j * g->stride_b[1] +
             column * (g->transpose_b ? g->ldb : 1),
        .c = job->c + i * g->stride_c[0] + j * g->stride_c[1] + row * g->ldc + column,
    };
    run_block(&block);
}

static void run_tasks(void *context, int64_t begin, int64_t end, uint32_t thread) {
    const GemmJob *job = context;
    (void)thread;
    if (job->set_threads) job->set_threads(1);
    for (int64_t task = begin; task < end; task++)
        run_task(job, task);
}

void gemm_run(Pool *pool, const PlanGemm *g, const float *a, const float *b, float *c) {
    GemmJob job = {.gemm = g,
                   .a = a,
                   .b = b,
                   .row_blocks = ceil_div(g->m, BLOCK_ROWS),
                   .column_blocks = ceil_div(g->n, BLOCK_COLUMNS),
                   .set_threads = find_set_threads()};
    job.c = c;
    pool_run(pool, g->batch[0] * g->batch[1] * job.row_blocks * job.column_blocks, run_tasks,
             &job);
}
