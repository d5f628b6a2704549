// order.c: the ORDER skeleton: a stable counting sort. A block has the rows of one group, and
// needs nothing of the others but the keys that all of them read:
//
//     each warp, of its part of the rows: how many come in earlier groups, and in this one
//     each warp's first place: all rows of earlier groups, this group's in the parts before
//     each warp again: its rows of this group, 32 at a time, to the next places
//
// So nothing is added by several blocks, and an order is the same in every run. The last block
// has the rows of no group.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/writer.h"

enum { WARPS = 32, UNROLLED = 8 };

typedef struct {
    CudaWriter *w;
    const TileOp *sort, *key, *value;
    CudaPoint at;  // row r
} Order;

// Rows of none come after those of the last group.
static void key_print(const Order *o) {
    long long groups = o->sort->index_count;
    cuda_comment(o->w, o->key);
    cuda_line(o->w, "const int key = %.*s;",
              STR_ARG(cuda_load(o->w, o->key, &o->at, (Str){0})));
    cuda_line(o->w, "const int group = (u32)key < %lldU ? key : %lld;", groups, groups);
}

static void count_print(const Order *o) {
    CudaWriter *w = o->w;
    cuda_line(w, "int earlier = 0, own = 0;");
    cuda_open(w, "_Pragma(\"unroll %d\") for (int r = first + lane; r < end; r += 32)",
              UNROLLED);
    key_print(o);
    cuda_line(w, "earlier += group < wanted;");
    cuda_line(w, "own += group == wanted;");
    cuda_close(w);
    cuda_open(w, "UNROLL for (int step = 16; step > 0; step /= 2)");
    cuda_line(w, "earlier += __shfl_xor_sync(~0U, earlier, step);");
    cuda_line(w, "own += __shfl_xor_sync(~0U, own, step);");
    cuda_close(w);
    cuda_line(w, "__shared__ int warp_earlier[%d], warp_own[%d];", WARPS, WARPS);
    cuda_line(w, "if (lane == 0) warp_earlier[warp] = earlier, warp_own[warp] = own;");
    cuda_line(w, "__syncthreads();");
    cuda_line(w, "int place = 0;");
    cuda_line(w, "UNROLL for (int i = 0; i < %d; i++)", WARPS);
    cuda_line(w, "    place += warp_earlier[i] + (i < warp ? warp_own[i] : 0);");
}

static void rows_print(const Order *o) {
    CudaWriter *w = o->w;
    const TileAccess *list = &o->sort->access;
    cuda_open(w, "_Pragma(\"unroll %d\") for (int start = first; start < end; start += 32)",
              UNROLLED);
    cuda_line(w, "const int r = start + lane;");
    cuda_line(w, "bool is_own = false;");
    cuda_open(w, "if (r < end)");
    key_print(o);
    cuda_line(w, "is_own = group == wanted;");
    cuda_close(w);
    cuda_line(w, "const u32 owners = __ballot_sync(~0U, is_own);");
    cuda_comment(w, o->sort);
    cuda_line(w, "if (is_own) %.*s[%lld + place + __popc(owners & ((1U << lane) - 1))] = %.*s;",
              STR_ARG(cuda_arg(w, list->arg)), (long long)list->offset,
              STR_ARG(cuda_index(w, o->value, &o->at)));
    cuda_line(w, "place += __popc(owners);");
    cuda_close(w);
}

bool cuda_order(CudaWriter *w) {
    const TileProgram *p = w->p;
    const int64_t threads = (int64_t)WARPS * 32;
    int64_t rows = p->dims[0].extent, part = ceil_div(rows, threads) * 32;
    Order o = {.w = w, .sort = &p->ops.ptr[p->ops.len - 1], .at = {.at = {STR("r")}}};
    ASSERT(o.sort->kind == TILE_SORT);
    o.key = tile_op(p, o.sort->in[0]);
    o.value = tile_op(p, o.sort->in[1]);
    if (rows > INT32_MAX / 2 || o.sort->index_count >= INT32_MAX / 2)
        return diag_fail(w->diag, FAIL_ENVIRONMENT, "kernel '%.*s' sorts too many rows",
                         STR_ARG(p->name));
    cuda_line(w, "// %lld rows; a block for each of %lld groups, and for the rows of none.",
              (long long)rows, (long long)o.sort->index_count);
    cuda_open(w, "KERNEL(%d) kernel(%.*s)", WARPS * 32, STR_ARG(cuda_parameters(w)));
    cuda_line(w, "const int wanted = (int)blockIdx.x;");
    cuda_line(w, "const int lane = (int)threadIdx.x %% 32, warp = (int)threadIdx.x / 32;");
    cuda_line(w, "const int first = warp * %lld, end = min(first + %lld, %lld);",
              (long long)part, (long long)part, (long long)rows);
    count_print(&o);
    rows_print(&o);
    cuda_close(w);
    w->launch.blocks = (uint32_t)o.sort->index_count + 1;
    w->launch.threads = WARPS * 32;
    return true;
}
