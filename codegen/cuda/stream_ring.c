// stream_ring.c: rows that come through shared memory, from sm_90 on: what is too wide for
// registers is still loaded once.
//
// The copy engine brings a row in parts, each with a barrier that counts its bytes. Passes read
// the parts from shared memory. In the last pass that does so, every warp says when it has read
// a part; one thread, a part behind, then asks for that part of the block's next row. So copies
// are under way while the block computes, and a block stays for many rows.
#include "base/check.h"
#include "base/integer.h"
#include "codegen/cuda/stream.h"

enum { RING_ALIGN = 128, MOST_PARTS = 16 };

static bool is_whole(int64_t elements, DType type) {
    return elements * (int64_t)dtype_bytes(type) % 16 == 0;
}

// Copies are of multiples of 16 bytes, between multiples of 16 bytes.
static bool comes_by_ring(const Stream *s, uint32_t i) {
    const StreamPlan *plan = &s->plan;
    const TileOp *op = stream_op(s, i);
    if (op->kind != TILE_LOAD || plan->ops[i].home != LEVEL_TASK || !plan->ops[i].col)
        return false;
    if (op->access.guard[0].dim >= 0 || op->access.guard[1].dim >= 0) return false;
    if (!stream_is_vector(s, i)) return false;
    DType type = plan->p->args.ptr[op->access.arg].type;
    bool whole = is_whole(op->access.offset, type) && is_whole(s->ring.part, type) &&
                 is_whole(plan->p->dims[plan->col].extent, type);
    for (uint32_t d = 0; d < plan->p->dim_count; d++)
        if ((int)d != plan->col && plan->p->dims[d].extent > 1)
            whole = whole && is_whole(op->access.stride[d], type);
    return whole;
}

bool ring_plan(Stream *s) {
    const StreamPlan *plan = &s->plan;
    const StreamShape *shape = &s->shape;
    uint32_t n = plan->p->ops.len;
    s->ring = (StreamRing){.first = -1, .last = -1};
    if (s->w->arch == CUDA_SM80 || plan->serial_count > 0 || shape->threads <= 32) return false;
    int64_t cols = plan->p->dims[plan->col].extent, most = stream_shared_left(s);
    s->ring.part = (int64_t)shape->threads * shape->width * shape->steps;
    s->ring.parts = (int)((cols - 1) / s->ring.part + 1);
    s->ring.place = arena_array(s->w->arena, int64_t, n);
    for (uint32_t i = 1; i < n; i++) {
        s->ring.place[i] = -1;
        if (!comes_by_ring(s, i)) continue;
        int64_t bytes =
            (int64_t)dtype_bytes(plan->p->args.ptr[stream_op(s, i)->access.arg].type);
        int64_t row = round_up(cols * bytes, RING_ALIGN);
        // What finds no place is loaded by every pass.
        if (s->ring.bytes + row > most) continue;
        s->ring.place[i] = s->ring.bytes;
        s->ring.bytes += row;
        s->ring.col_bytes += bytes;
    }
    if (s->ring.parts > MOST_PARTS) s->ring.bytes = 0;
    return s->ring.bytes > 0;
}

bool ring_has(const Stream *s, uint32_t i) {
    return s->ring.bytes > 0 && s->ring.place[i] >= 0;
}

void ring_reads(Stream *s, int round) {
    if (s->ring.first < 0 || round < s->ring.first) s->ring.first = round;
    if (round > s->ring.last) s->ring.last = round;
}

// ---- the kernel's start

static void fetch_load(Stream *s, uint32_t i) {
    CudaWriter *w = s->w;
    const TileOp *op = stream_op(s, i);
    Str col = s->at.at[s->plan.col];
    size_t bytes = dtype_bytes(w->p->args.ptr[op->access.arg].type);
    cuda_convert(w, (TileId){i}, STR("rows that the copy engine brings"), 1,
                 w->p->dims[s->plan.col].extent * (int64_t)bytes);
    cuda_comment(w, op);
    cuda_line(
        w,
        "bulk_load(shared_address(shared + %lld + %.*s * %zu), %.*s + %.*s, cols * %zu, full);",
        (long long)s->ring.place[i], STR_ARG(col), bytes, STR_ARG(cuda_arg(w, op->access.arg)),
        STR_ARG(cuda_offset(w, &op->access, &s->at)), bytes);
}

// A function of the task and the part: it is called for the first row and for each next one.
static void fetch_write(Stream *s) {
    CudaWriter *w = s->w;
    int64_t cols = w->p->dims[s->plan.col].extent, part = s->ring.part;
    cuda_line(w, "// Asks the copy engine for a part of a row.");
    cuda_open(w, "auto row_fetch = [&](int task, int part)");
    task_indices_write(s);
    cuda_line(w, "const int %.*s = part * %lld;", STR_ARG(s->at.at[s->plan.col]),
              (long long)part);
    if (cols % part == 0)
        cuda_line(w, "const u32 cols = %lld, full = shared_address(ring_full + part);",
                  (long long)part);
    else
        cuda_line(
            w,
            "const u32 cols = part < %d ? %lld : %lld, full = shared_address(ring_full + part);",
            s->ring.parts - 1, (long long)part, (long long)(cols % part));
    cuda_line(w, "barrier_expect(full, cols * %lld);", (long long)s->ring.col_bytes);
    for (uint32_t i = 1; i < w->p->ops.len; i++)
        if (ring_has(s, i)) fetch_load(s, i);
    w->indent--;
    cuda_line(w, "};");
}

void ring_start(Stream *s) {
    CudaWriter *w = s->w;
    int parts = s->ring.parts;
    cuda_line(w, "__shared__ u64 ring_full[%d], ring_empty[%d];", parts, parts);
    cuda_open(w, "if (lane < %d)", parts);
    cuda_line(w, "barrier_init(shared_address(ring_full + lane), 1);");
    cuda_line(w, "barrier_init(shared_address(ring_empty + lane), %d);", s->shape.threads / 32);
    cuda_line(w, "barrier_init_done();");
    cuda_close(w);
    cuda_line(w, "__syncthreads();");
    fetch_write(s);
    cuda_open(w, "if (lane == 0)");
    cuda_line(w, "NO_UNROLL for (int part = 0; part < %d; part++) row_fetch(blockIdx.x, part);",
              parts);
    cuda_close(w);
    cuda_line(w, "u32 row = 0;  // of this block: its parity is that of the barriers' phases");
}

// ---- in a pass: `part` is a variable of the loop over parts

void ring_wait(Stream *s, int round) {
    if (round != s->ring.first) return;
    cuda_line(s->w, "barrier_wait(shared_address(ring_full + part), row & 1);");
}

static void refill(Stream *s, const char *condition, const char *part) {
    cuda_open(s->w, "if (lane == 0 && %stask + (int)gridDim.x < %lld)", condition,
              (long long)stream_tasks(s));
    cuda_line(s->w, "barrier_wait(shared_address(ring_empty + %s), row & 1);", part);
    cuda_line(s->w, "row_fetch(task + gridDim.x, %s);", part);
    cuda_close(s->w);
}

void ring_release(Stream *s, int round) {
    if (round != s->ring.last) return;
    cuda_line(s->w, "// This warp has read the part; of the one before, all have.");
    cuda_line(s->w, "__syncwarp();");
    cuda_line(s->w, "if (lane %% 32 == 0) barrier_arrive(shared_address(ring_empty + part));");
    if (s->ring.parts > 1) refill(s, "part > 0 && ", "part - 1");
}

void ring_pass_end(Stream *s, int round) {
    if (round != s->ring.last) return;
    refill(s, "", arena_printf(s->w->arena, "%d", s->ring.parts - 1));
    cuda_line(s->w, "row++;");
}
