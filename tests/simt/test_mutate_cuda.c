// test_mutate_cuda.c: bugs are planted in what the emitter prints, and each must be noticed: by
// a report of the machine, or by numbers that are not the interpreter's. Places are named by
// what kernels call in the prelude; where the emitter prints something else, change them here.
#include <math.h>

#include "tests/codegen/grouped_case.h"
#include "tests/ir/tile_bench.h"
#include "tests/simt/mutate.h"
#include "tests/simt/simt.h"

static const char softmax[] = "tile softmax stream\n"
                              "grid t = 5\ncol c = 1000\n"
                              "arg x: f32[5000]\narg y: f32[5000]\n"
                              "%1 = load x[t*1000 + c] : f32 (t, c)\n"
                              "%2 = reduce_max %1 over (c) : f32 (t)\n"
                              "%3 = map sub %1, %2 : f32 (t, c)\n"
                              "%4 = map exp %3 : f32 (t, c)\n"
                              "%5 = reduce_sum %4 over (c) : f32 (t)\n"
                              "%6 = map div %4, %5 : f32 (t, c)\n"
                              "store y[t*1000 + c] = %6 : f32 (t, c)\n";

// y[m, n] = sum over k of a[m, k] b[n, k]
#define PRODUCT(m, n, k, mk, nk, mn, knobs)                                         \
    "tile product loop\nm m = " #m "\nn n = " #n "\nk k = " #k "\narg a: bf16[" #mk \
    "]\narg b: bf16[" #nk "]\narg y: bf16[" #mn "]\n" knobs "%1 = load a[m*" #k     \
    " + k] : f32 (m, k)\n%2 = load b[n*" #k " + k] : f32 (n, k)\n"                  \
    "%3 = dot %1, %2 over (k) : f32 (m, n)\nstore y[m*" #n " + n] = %3 : f32 (m, n)\n"
static const char by_copies[] =
    PRODUCT(72, 40, 136, 9792, 5440, 2880,
            "knob bm = 64\nknob bn = 32\nknob bk = 32\nknob stages = 3\n");
static const char by_warpgroups[] =
    PRODUCT(136, 192, 200, 27200, 38400, 26112,
            "knob bm = 128\nknob bn = 192\nknob stages = 2\nknob cluster = 2\n");

// k in parts: y[p, m, n] = sum over the 72 k of part p of a[k, m] b[k, n]. Then their sum.
#define IN_PARTS(knobs)                                                               \
    "tile parts loop\ngrid p = 3\nm m = 72\nn n = 40\nk k = 72\narg a: bf16[15552]\n" \
    "arg b: bf16[8640]\narg y: f32[8640]\n" knobs                                     \
    "%1 = load a[p*5184 + m + k*72] : f32 (p, m, k)\n"                                \
    "%2 = load b[p*2880 + n + k*40] : f32 (p, n, k)\n"                                \
    "%3 = dot %1, %2 over (k) : f32 (p, m, n)\n"                                      \
    "store y[p*2880 + m*40 + n] = %3 : f32 (p, m, n)\n"
static const char parts_by_copies[] = IN_PARTS("knob bm = 64\nknob bn = 32\nknob bk = 32\n");
static const char parts_by_warpgroups[] =
    IN_PARTS("knob bm = 64\nknob bn = 40\nknob consumers = 1\n");
static const char sum_of_parts[] = "tile sum stream\nserial p = 3\ncol c = 2880\n"
                                   "arg x: f32[8640]\narg y: f32[2880]\n"
                                   "%1 = load x[p*2880 + c] : f32 (p, c)\n"
                                   "%2 = reduce_sum %1 over (p) : f32 (c)\n"
                                   "store y[c] = %2 : f32 (c)\n";

// Causal attention of 40 queries and keys, tiles of keys in two stages.
#define ATTENTION(type, knobs)                                                          \
    "tile attention attend\ngrid h = 2\nm t = 40\nn s = 40\nk d = 16\nk e = 24\n"       \
    "band 0, inf\narg q: " type "[1280]\narg key: " type "[1280]\narg v: " type         \
    "[1920]\narg y: f32[1920]\nknob bm = 32\nknob warps_m = 2\nknob stages = 2\n" knobs \
    "%1 = load q[h*640 + t*16 + d] : f32 (h, t, d)\n"                                   \
    "%2 = load key[h*640 + s*16 + d] : f32 (h, s, d)\n"                                 \
    "%3 = dot %1, %2 over (d) : f32 (h, t, s)\n%4 = const 0.5 : f32 ()\n"               \
    "%5 = map mul %3, %4 : f32 (h, t, s)\n"                                             \
    "%6 = reduce_max %5 over (s) : f32 (h, t)\n%7 = map sub %5, %6 : f32 (h, t, s)\n"   \
    "%8 = map exp %7 : f32 (h, t, s)\n%9 = reduce_sum %8 over (s) : f32 (h, t)\n"       \
    "%10 = load v[h*960 + s*24 + e] : f32 (h, s, e)\n"                                  \
    "%11 = dot %8, %10 over (s) : f32 (h, t, e)\n"                                      \
    "%12 = map div %11, %9 : f32 (h, t, e)\n"                                           \
    "store y[h*960 + t*24 + e] = %12 : f32 (h, t, e)\n"
static const char attention[] = ATTENTION("bf16", "knob bn = 16\n");
static const char attention_in_f32[] = ATTENTION("f32", "knob bn = 32\nknob warps_n = 2\n");
static const char attention_from_start[] =
    "tile attention attend\ngrid p = 2\nm t = 20\nn s = 200\nk d = 16\nk e = 24\n"
    "band 0, 60\ndeal 32\narg begin: i32[1]\narg q: bf16[320]\narg key: bf16[3200]\n"
    "arg v: bf16[4800]\narg y: f32[960]\nknob bm = 16\nknob bn = 16\nknob stages = 2\n"
    "%1 = load begin[0] : i32 ()\nstart %1 over (t) : i32 ()\n"
    "%3 = load q[t*16 + d] : f32 (t, d)\n"
    "%4 = load key[s*16 + d] if 0 <= p < 2 : f32 (p, s, d)\n"
    "%5 = dot %3, %4 over (d) : f32 (p, t, s)\n%6 = reduce_max %5 over (s) : f32 (p, t)\n"
    "%7 = map sub %5, %6 : f32 (p, t, s)\n%8 = map exp %7 : f32 (p, t, s)\n"
    "%9 = load v[s*24 + e] : f32 (s, e)\n%10 = dot %8, %9 over (s) : f32 (p, t, e)\n"
    "%11 = reduce_sum %8 over (s) : f32 (p, t)\n%12 = map div %10, %11 : f32 (p, t, e)\n"
    "store y[p*480 + t*24 + e] = %12 : f32 (p, t, e)\n";
static const char attention_of_two[] = ATTENTION("bf16", "knob bn = 32\nknob warps_n = 2\n");

// The gradients of such: of queries, and of keys with values.
#define GRADIENTS(name, type, results)                                                     \
    "tile " name " attend\ngrid h = 2\nm t = 40\nn s = 40\nk d = 16\nk e = 24\n"           \
    "band 0, inf\narg q: " type "[1280]\narg key: " type "[1280]\narg v: " type "[1920]\n" \
    "arg g: " type "[1920]\narg lse: f32[80]\narg delta: f32[80]\n" results                \
    "knob bm = 32\nknob bn = 16\nknob warps_m = 2\nknob stages = 2\n"                      \
    "%1 = load q[h*640 + t*16 + d] : f32 (h, t, d)\n"                                      \
    "%2 = load key[h*640 + s*16 + d] : f32 (h, s, d)\n"                                    \
    "%3 = dot %1, %2 over (d) : f32 (h, t, s)\n%4 = const 0.0625 : f32 ()\n"               \
    "%5 = map mul %3, %4 : f32 (h, t, s)\n%6 = load lse[h*40 + t] : f32 (h, t)\n"          \
    "%7 = map sub %5, %6 : f32 (h, t, s)\n%8 = map exp %7 : f32 (h, t, s)\n"               \
    "%9 = load g[h*960 + t*24 + e] : f32 (h, t, e)\n"                                      \
    "%10 = load v[h*960 + s*24 + e] : f32 (h, s, e)\n"                                     \
    "%11 = dot %9, %10 over (e) : f32 (h, t, s)\n"                                         \
    "%12 = load delta[h*40 + t] : f32 (h, t)\n%13 = map sub %11, %12 : f32 (h, t, s)\n"    \
    "%14 = map mul %8, %13 : f32 (h, t, s)\n%15 = map mul %14, %4 : f32 (h, t, s)\n"
static const char query_gradient[] = GRADIENTS(
    "queries", "bf16",
    "arg dq: f32[1280]\n") "%16 = dot %15, %2 over (s) : f32 (h, t, d)\nstore dq[h*640 + t*16 + d] = %16 : f32 (h, t, d)\n";
#define KEY_GRADIENT(type)                                            \
    GRADIENTS("keys", type, "arg dk: f32[1280]\narg dv: f32[1920]\n") \
    "%16 = dot %15, %1 over (t) : f32 (h, s, d)\n"                    \
    "store dk[h*640 + s*16 + d] = %16 : f32 (h, s, d)\n"              \
    "%18 = dot %8, %9 over (t) : f32 (h, s, e)\n"                     \
    "store dv[h*960 + s*24 + e] = %18 : f32 (h, s, e)\n"
static const char key_gradient[] = KEY_GRADIENT("bf16");
static const char key_gradient_in_f32[] = KEY_GRADIENT("f32");

// The gated delta rule without a strength: 40 tokens, 32 at a time.
static const char recurrence[] = "tile recurrence chunk\n"
                                 "grid h = 2\n"
                                 "m t = 40 tile 32\n"
                                 "n s = 40 tile 32\n"
                                 "k d = 16\n"
                                 "k e = 24\n"
                                 "arg g: f32[1280]\n"
                                 "arg q: f32[1280]\n"
                                 "arg key: f32[1280]\n"
                                 "arg v: f32[1920]\n"
                                 "arg y: f32[1920]\n"
                                 "arg last: f32[768]\n"
                                 "%1 = const 0 : f32 ()\n"
                                 "%2 = carry %1 : f32 (h, d, e)\n"
                                 "%3 = load g[h*640 + t*16 + d] : f32 (h, t, d)\n"
                                 "%4 = map sigmoid %3 : f32 (h, t, d)\n"
                                 "%5 = load key[h*640 + t*16 + d] : f32 (h, t, d)\n"
                                 "%6 = turn %5 : f32 (h, s, d)\n"
                                 "%7 = dot %5, %6 decayed %4 over (d) : f32 (h, t, s)\n"
                                 "%8 = const 0.05 : f32 ()\n"
                                 "%9 = map mul %7, %8 : f32 (h, t, s)\n"
                                 "%10 = scan mul %4 upto (t) : f32 (h, t, d)\n"
                                 "%11 = map mul %5, %10 : f32 (h, t, d)\n"
                                 "%12 = dot %11, %2 over (d) : f32 (h, t, e)\n"
                                 "%13 = map mul %12, %8 : f32 (h, t, e)\n"
                                 "%14 = load v[h*960 + t*24 + e] : f32 (h, t, e)\n"
                                 "%15 = map sub %14, %13 : f32 (h, t, e)\n"
                                 "%16 = solve %9, %15 : f32 (h, t, e)\n"
                                 "%17 = load q[h*640 + t*16 + d] : f32 (h, t, d)\n"
                                 "%18 = dot %17, %6 decayed %4 over (d) : f32 (h, t, s)\n"
                                 "%19 = turn %16 : f32 (h, s, e)\n"
                                 "%20 = dot %18, %19 over (s) : f32 (h, t, e)\n"
                                 "%21 = map mul %17, %10 : f32 (h, t, d)\n"
                                 "%22 = dot %21, %2 over (d) : f32 (h, t, e)\n"
                                 "%23 = map add %20, %22 : f32 (h, t, e)\n"
                                 "store y[h*960 + t*24 + e] = %23 : f32 (h, t, e)\n"
                                 "%25 = scan mul %4 after (t) : f32 (h, t, d)\n"
                                 "%26 = map mul %5, %25 : f32 (h, t, d)\n"
                                 "%27 = dot %26, %16 over (t) : f32 (h, d, e)\n"
                                 "%28 = scan mul %4 all (t) : f32 (h, d)\n"
                                 "%29 = map mul %28, %2 : f32 (h, d, e)\n"
                                 "%30 = map add %29, %27 : f32 (h, d, e)\n"
                                 "next %2 = %30 : f32 (h, d, e)\n"
                                 "store last[h*384 + d*24 + e] = %2 : f32 (h, d, e)\n";

typedef struct {
    const char *text;
    IsaLevel arch;
    double tolerance;  // of values, and of their rounding
    void (*prepare)(const TileProgram *p, void *const *args);  // NULL: any values will do
} Program;

// Sums of at most 200 products of numbers below 2, stored with 8 bits.
#define ROUNDING (200 * 0x1p-23 * 4 + 0x1p-7)

#define PLANT(from, to, report) PLANT_TWO(from, to, report, NULL, NULL)
#define PLANT_TWO(from, to, report, and_from, and_to) \
    { from, to, report, and_from, and_to }

static const Mutation in_softmax[] = {
    PLANT("c_at < 1000)", "c_at < 1004)", "which has"),
    PLANT("if (c_at < 1000) sum", "sum", "wrong"),
    PLANT("team_reduce<Sum>", "team_reduce<Max>", "wrong"),
    PLANT("if (c_at < 1000) {", "{", NULL),
    PLANT("task += gridDim.x", "task += 1", NULL),
    PLANT("task < 5", "task < 6", "which has"),
    PLANT("sum_5 = team_reduce", "if (lane < 128) sum_5 = team_reduce", NULL),
    PLANT("{team_words, ", "{team_words + 1, ", NULL),
};

// Of 96 sums of a row, which the block's warps share.
static const Mutation in_mixes[] = {
    PLANT("__syncthreads();\n        TABLE", "TABLE", "race"),
    PLANT("[96] = {0, 1, 2,", "[96] = {0, 2, 1,", "wrong"),
    PLANT("198, 96, 96);\n        __syncthreads();", "198, 96, 96);", "race"),
    PLANT("198, 96, 96)", "198, 96, 95)", NULL),
    PLANT("warps_reduce<Sum, 3>", "warps_reduce<Sum, 2>", NULL),
    PLANT("warp_sums + 30, all, true", "warp_sums + 30, all, false", NULL),
    PLANT("warp_sums + 30, all", "warp_sums + 29, all", NULL),
    PLANT("threadIdx.x / 32 * 96", "threadIdx.x / 32 * 95", "race"),
    PLANT("(int)threadIdx.x - 32;", "(int)threadIdx.x - 320;", NULL),
    PLANT("(u32)at < 6U", "(u32)at < 5U", NULL),
    PLANT(" + at] =", "] =", "race"),
    PLANT("__syncthreads();\n        if (const int at = (int)threadIdx.x - 0; (u32)at < 16U)",
          "if (const int at = (int)threadIdx.x - 0; (u32)at < 16U)", "race"),
    PLANT("at * 3] = scalars[96 + at", "at * 3] = scalars[96 + 1 - at", NULL),
};

static const Mutation in_copies[] = {
    PLANT("copy_async_wait<STAGES - 2>();", "copy_async_wait<STAGES - 1>();", "race"),
    PLANT("copy_async_wait<STAGES - 2>();\n        __syncthreads();",
          "copy_async_wait<STAGES - 2>();", "race"),
    PLANT("copy_async_wait<STAGES - 2>();", "", "race"),
    PLANT("k / 8 + lane / 16)", "k / 8 + 1 - lane / 16)", "wrong"),
    PLANT("b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]",
          "b[j / 2][j % 2 * 2 + 1], b[j / 2][j % 2 * 2]", "wrong"),
    PLANT("m < 72 && k < 136", "k < 136", "which has"),
    PLANT("k < 136 ? 16 : 0", "true ? 16 : 0", NULL),
    PLANT("next = step + STAGES - 1", "next = step + STAGES", NULL),
};

static const Mutation in_warpgroups[] = {
    PLANT("barrier_init(full + 8 * i, 1)", "barrier_init(full + 8 * i, 2)", "deadlock"),
    PLANT("barrier_init_done();", "", "missing fence"),
    PLANT("cluster_sync();\n    // The producer", "__syncthreads();\n    // The producer",
          NULL),
    PLANT("barrier_wait(empty + 8 * stage, parity);", "", NULL),
    PLANT("barrier_wait(full + 8 * stage, parity);", "", "race"),
    PLANT("barrier_expect(ready, A_BYTES + B_BYTES)", "barrier_expect(ready, A_BYTES)", NULL),
    PLANT("barrier_expect(ready, A_BYTES + B_BYTES)",
          "barrier_expect(ready, A_BYTES + B_BYTES + 16)", "deadlock"),
    PLANT("u32 stage = 0, parity = 1;", "u32 stage = 0, parity = 0;", "deadlock"),
    PLANT("parity ^= 1;", "", NULL),
    PLANT("wgmma_fence();", "", "wgmma_fence"),
    PLANT("wgmma_commit();", "", NULL),
    PLANT("wgmma_wait<1>();", "", NULL),
    PLANT("wgmma_wait<0>();", "", NULL),
    PLANT("if (k > 0 && lane < 2) barrier_arrive_at(empty + 8 * before, lane);",
          "if (lane < 2) barrier_arrive_at(empty + 8 * stage, lane);", NULL),
    PLANT("lane < 2) barrier_arrive_at(empty + 8 * before, lane)",
          "lane == 0) barrier_arrive(empty + 8 * before)", NULL),
    PLANT("b + 2 * j", "b + 4 * j", NULL),
    PLANT("a + 512 * i + 2 * j", "a + 512 * i + 4 * j", NULL),
    PLANT("k > 0 || j > 0", "j > 0", "wrong"),
    PLANT("wgmma_bf16<TILE_N, 0, 0>", "wgmma_bf16<TILE_N, 0, 1>", NULL),
    PLANT("&map_b, ready, 3,", "&map_b, ready, 1,", NULL),
    PLANT("b + rank * (B_BYTES / 2), &map_b", "b, &map_b", "race"),
    PLANT("bulk_wait_read<1>()", "bulk_wait_read<2>()", "race"),
    PLANT("async_fence();", "", "missing fence"),
    PLANT("async_fence();\n                named_barrier_sync(1 + group, 128);",
          "async_fence();", NULL),
    PLANT("if (thread == 0) bulk_wait<0>();", "", "a thread ends"),
    PLANT("(u32)(2 * j + lane / 16) ^ (u32)(lane % 8)", "(u32)(2 * j + lane / 16)", NULL),
    PLANT("registers_grow<", "registers_grow<8 + ", NULL),
    PLANT("ends while the other may still write or arrive here.\n    cluster_sync();", "",
          NULL),
};

// Two parts in one place, and operands of another part or beyond the own one.
static const Mutation in_parts_by_copies[] = {
    PLANT("(grid0*2880 + m*40 + n)", "(m*40 + n)", "race"),
    PLANT("grid0 = task / 4", "grid0 = task / 5", NULL),
    PLANT("(grid0*5184 + m + k*72)", "(m + k*72)", "wrong"),
    PLANT("m < 72 && k < 72 ?", "m < 72 ?", "which has"),
};

static const Mutation in_parts_by_warpgroups[] = {
    PLANT("(point0*2880 + m*40 + n)", "(m*40 + n)", "race"),
    PLANT("point0 = point % 3", "point0 = point % 2", NULL),
    PLANT("inner, point0);", "inner, 0);", "wrong"),
    PLANT("inner = k * TILE_K;", "inner = k * TILE_K + 8;", "wrong"),
};

static const Mutation in_sum_of_parts[] = {
    PLANT("p_at < 3", "p_at < 2", "wrong"),
    PLANT("p_at < 3", "p_at < 4", "which has"),
    PLANT("p_at*2880 + c_at", "c_at", "wrong"),
    PLANT("task < 12", "task < 11", "wrong"),
    PLANT("task += gridDim.x", "task += gridDim.x - 1", "race"),
};

static const Mutation in_attention[] = {
    PLANT("copy_async_wait<0>();", "copy_async_wait<1>();", "race"),
    PLANT("copy_async_wait<0>();\n        __syncthreads();", "copy_async_wait<0>();", "race"),
    PLANT("(u32)step % 2 * ", "(u32)step % 1 * ", "race"),
    PLANT("point < 40 ? 16 : 0", "true ? 16 : 0", "which has"),
    PLANT("&& k < 24 ? 16 : 0", "? 16 : 0", NULL),
    PLANT("own < 40", "true", "which has"),
    PLANT("own - other >= 0", "own - other >= 1", "wrong"),
    PLANT("own_first - other_first - 15 < 0", "own_first - other_first < 0", "wrong"),
    PLANT("most < 39 ? most", "most < 39 ? most - 16", "wrong"),
    PLANT("__shfl_xor_sync(~0U, most, 2)", "__shfl_xor_sync(~0U, most, 4)", "wrong"),
    PLANT("total[r] *= decay;", "", "wrong"),
    PLANT("[r % 2 * 2 + i % 2] *= decay;", "[r % 2 * 2] *= decay;", "wrong"),
    PLANT("[j % 2 * 2 + r % 2] = bf16_pair", "[r % 2 * 2 + j % 2] = bf16_pair", "wrong"),
    PLANT("j * 2 + lane / 16)", "j * 2 + 1 - lane / 16)", "wrong"),
    PLANT("k / 8 + lane / 8 % 2)", "k / 8 + 1 - lane / 8 % 2)", "wrong"),
    PLANT("lanes <= 2", "lanes <= 1", "wrong"),
    PLANT("/ 1 % 2;  // h", "/ 1 % 1;  // h", NULL),
};

// Where queries begin, and what of the keys is dealt to a block.
static void begin_prepare(const TileProgram *p, void *const *args) {
    dtype_set(p->args.ptr[0].type, args[0], 0, 110);
}
static const Mutation in_attention_from_start[] = {
    PLANT("start = begin_1;", "start = begin_1 + 1;", "wrong"),
    PLANT("start + own - other >= 0", "own - other >= 0", "wrong"),
    PLANT("start + own - other <= 60", "start + own - other <= 61", "wrong"),
    PLANT("start + own_first - other_first - 15 < 0", "false", "wrong"),
    PLANT("least = start + own_first", "least = start + own_first + 16", "wrong"),
    PLANT("(grid0 + 2 - before % 2)", "(grid0 + 2)", "wrong"),
    PLANT("(end - 1) / 2 - dealt)", "(end - 1) / 2 - dealt - 1)", "wrong"),
    PLANT("dealt + step / 2 * 2)", "dealt + step / 2)", "wrong"),
    PLANT("* 32 + step % 2 * 16", "* 32 + step % 2 * 8", "wrong"),
};

// Of two warps that share rows: what each gives to the other, and when.
static const Mutation in_attention_of_two[] = {
    PLANT("named_barrier_sync(1 + thread / 64, 64);\n        UNROLL for (int r",
          "UNROLL for (int r", "race"),
    PLANT("named_barrier_sync(1 + thread / 64, 64);\n        // %11", "// %11", "race"),
    PLANT("named_barrier_sync(1 + thread / 64, 64);\n    UNROLL for (int r",
          "UNROLL for (int r", "race"),
    PLANT("[part] = most;", "[0] = most;", "race"),
    PLANT("float most = of_row[0];", "float most = of_row[part];", "wrong"),
    PLANT("total[r] += of_row[i];", "total[r] += 0.0f;", "wrong"),
    PLANT("part * 1 + p)", "p)", "race"),
    PLANT("part_first = other_first + part * 16", "part_first = other_first", "wrong"),
    PLANT("(part * 16 + j * 16 + lane", "(j * 16 + lane", "wrong"),
    PLANT("part * 2 + j * 2 + lane", "j * 2 + lane", "wrong"),
    PLANT("k = part * 16 + j * 8", "k = j * 8", "race"),
    PLANT("thread / 64 * 16", "thread / 32 * 16", NULL),
};

// Weights on their way to the sums, and what is read of the tiles.
static const Mutation in_attention_in_f32[] = {
    PLANT("named_barrier_sync(1 + thread / 64, 64);\n        // %11", "// %11", "race"),
    PLANT("copy_async_wait<0>();\n        __syncthreads();", "copy_async_wait<0>();", "race"),
    PLANT("part * 4 + j * 2 + lane", "j * 2 + lane", "race"),
    PLANT("+ lane % 2 * 8;\n", ";\n", "race"),
    PLANT("weights_0[r / 2][j][r % 2 * 2 + 1] = pair_0[1]",
          "weights_0[r / 2][j][r % 2 * 2 + 1] = pair_0[0]", "wrong"),
    PLANT("__float_as_uint(weights_0[r / 2][j][r % 2 * 2 + 1])",
          "__float_as_uint(weights_0[r / 2][j][r % 2 * 2])", "wrong"),
    PLANT("lane % 4 * 2 + i % 2, k / 4", "lane % 4 + i % 2 * 4, k / 4", "wrong"),
    PLANT("(part * 16 + i", "(i", "wrong"),
    PLANT("lane / 4 + r * 8, p / 4", "lane / 4 + r * 8, p / 8", "wrong"),
    PLANT("(p + q, ", "(p + 3 - q, ", "wrong"),
    PLANT("lane % 2 * 8);\n", "8);\n", "wrong"),
    PLANT("for (int k = 0; k < 16; k += 4)", "for (int k = 0; k < 12; k += 4)", "wrong"),
};

// Groups of rows: which tile a block has, and what is of no group or of the next one.
static const GroupedCase grouped = {150, 40, 72, "knob bm = 16\nknob bn = 32\nknob bk = 32\n",
                                    "bf16"};
static const Mutation in_rows_at_groups[] = {
    PLANT("if (lane >= step) tiles_end += before;", "tiles_end += before;", NULL),
    PLANT("step < 32; step *= 2", "step < 2; step *= 2", "wrong"),
    PLANT("(sub_3 + 15) / 16", "sub_3 / 16", "wrong"),
    PLANT("if (owner < 0) return;", "", "which has"),
    PLANT("row_tile < tiles_end;", "row_tile <= tiles_end;", NULL),
    PLANT("tiles_first <= row_tile", "tiles_first < row_tile", NULL),
    PLANT("(row_tile - __shfl_sync(~0U, tiles_first, owner))", "row_tile", "wrong"),
    PLANT("(lt_7 ? rows_11", "(true ? rows_11", NULL),
    PLANT("1 <= grid0 ?", "2 <= grid0 ?", "wrong"),
    PLANT("< 50U ? 16 : 0", "< 500U ? 16 : 16", "which has"),
    PLANT("< 150U) {", "<= ~0U) {", "which has"),
};
static const Mutation in_rows_into_groups[] = {
    PLANT("(sub_3 + 31) / 32", "sub_3 / 32", "wrong"),
    PLANT("step < steps; step++", "step < 3; step++", NULL),
    PLANT("if (step < steps) fetch(step);", "fetch(0);", NULL),
    PLANT_TWO("(lt_7 ? tokens_9", "(true ? tokens_9", "wrong", "(lt_7 ? rows_11",
              "(true ? rows_11"),
};
static const Mutation in_order[] = {
    PLANT("earlier += group < wanted;", "earlier += group <= wanted;", NULL),
    PLANT("own += group == wanted;", "own += group >= wanted;", NULL),
    PLANT("warp_own[warp] = own;\n    __syncthreads();", "warp_own[warp] = own;", "race"),
    PLANT("i < warp ?", "i <= warp ?", NULL),
    PLANT("place += __popc(owners);", "", "race"),
    PLANT("(1U << lane) - 1", "(2U << lane) - 1", NULL),
    PLANT("if (r < end) {", "{", NULL),
    PLANT("if (lane == 0) warp_earlier", "warp_earlier", "race"),
    PLANT("key : 6;", "key : 5;", NULL),
};

// Of both kernels of gradients.
#define IN_GRADIENTS                                                                      \
    PLANT("copy_async_wait<0>();", "copy_async_wait<1>();", "race"),                      \
        PLANT("copy_async_wait<0>();\n        __syncthreads();", "copy_async_wait<0>();", \
              "race"),                                                                    \
        PLANT("(u32)step % 2 * ", "(u32)step % 1 * ", "race"),                            \
        PLANT("point < 40 ? 16 : 0", "true ? 16 : 0", "which has"),                       \
        PLANT("&& k < 24 ? 16 : 0", "? 16 : 0", NULL),                                    \
        PLANT("if (own < 40)", "if (true)", NULL),                                        \
        PLANT("kept |= 0xffffU << e * 16", "kept |= 0xffffU", "wrong"),                   \
        PLANT("weights_0[r / 2][j / 2][j % 2 * 2 + r % 2] &= kept;", "", "wrong"),        \
        PLANT("[j % 2 * 2 + r % 2] = bf16_pair(pair_0",                                   \
              "[r % 2 * 2 + j % 2] = bf16_pair(pair_0", "wrong"),                         \
        PLANT("pair_0[0], pair_0[1]", "pair_0[1], pair_0[0]", "wrong"),                   \
        PLANT("j * 2 + lane / 16)", "j * 2 + 1 - lane / 16)", "wrong"),                   \
        PLANT("k / 8 + lane / 8 % 2)", "k / 8 + 1 - lane / 8 % 2)", "wrong"),             \
        PLANT("scores_1[r / 2][j][r % 2 * 2 + e]", "scores_1[r / 2][j][e * 2 + r % 2]",   \
              "wrong"),                                                                   \
        PLANT("sums_0[r / 2][j][r % 2 * 2 + e]", "sums_0[r / 2][j][e * 2 + r % 2]", "wrong")

static const Mutation in_query_gradient[] = {
    IN_GRADIENTS,
    PLANT("own - other >= 0", "own - other >= 1", "wrong"),
    PLANT("own_first - other_first - 15 < 0", "own_first - other_first < 0", "wrong"),
    PLANT("most < 39 ? most", "most < 39 ? most - 16", "wrong"),
    PLANT("- delta_12_run[r]", "- delta_12_run[1 - r]", "wrong"),
    PLANT("own_row < 40 ? own_row : 39", "own_row", "which has"),
};

static const Mutation in_key_gradient[] = {
    IN_GRADIENTS,
    PLANT("own - other <= 0", "own - other <= 1", "wrong"),
    PLANT("own_first + 15 - other_first > 0", "own_first - other_first > 0", "wrong"),
    PLANT("(least > 0 ? least : 0) / 32", "(least > 0 ? least : 0) / 32 + 1", NULL),
    PLANT("point < 40 ? point : 39", "point", "which has"),
    PLANT("weights_1[r / 2][j / 2][j % 2 * 2 + r % 2] &= kept;", "", "wrong"),
    PLANT("weights_1[f][p], b[0], b[1]", "weights_0[f][p], b[0], b[1]", "wrong"),
    PLANT("pair_1[e] = ", "pair_1[1 - e] = ", "wrong"),
    PLANT("if (k >= 24) break;", "", NULL),
};

static const Mutation in_key_gradient_in_f32[] = {
    PLANT("own - other <= 0)) weights_1", "own - other <= 1)) weights_1", "wrong"),
    PLANT("weights_0[r / 2][j][r % 2 * 2 + e] = 0.0f", "", "wrong"),
    PLANT("weights_1[r / 2][j][r % 2 * 2 + 0] = pair_1[0]",
          "weights_1[r / 2][j][r % 2 * 2 + 0] = pair_0[0]", "wrong"),
    PLANT("sums_1[r / 2][j][r % 2 * 2 + e]", "sums_1[r / 2][j][e * 2 + r % 2]", "wrong"),
    PLANT("point < 40 ? 16 : 0", "true ? 16 : 0", "which has"),
};

static const Mutation in_recurrence[] = {
    PLANT("__syncthreads();\n        // %4 ", "// %4 ", "race"),
    PLANT("__syncthreads();\n        // %7 ", "// %7 ", "race"),
    PLANT("__syncthreads();\n        // %16 ", "// %16 ", "race"),
    PLANT("__syncthreads();\n        // next", "// next", "race"),
    PLANT("                    __syncthreads();\n                }\n", "                }\n",
          "race"),
    PLANT("begin / 16 % 2)", "begin / 16 % 2 == 0)", "wrong"),
    PLANT("behind = before + half", "behind = before + 8", NULL),
    PLANT("s_at <= t_at)) return 0.0f;\n                return dot_18",
          "true)) return 0.0f;\n                return dot_18", NULL),
    PLANT("sums, block, col, 0, block, left", "sums, block, col, 0, block + 8, left", NULL),
    PLANT("solve_block<false>", "solve_block<true>", "wrong"),
    PLANT("scan<32, true, true>", "scan<32, true, false>", "wrong"),
    PLANT("= before; });", "= with; });", "wrong"),
    PLANT("row + 16 < 32 ? row + 16 : 32", "row < 32 ? row : 32", "wrong"),
    PLANT("unit_multiply<true>(sums, row, col, 0, 16, left_12",
          "unit_multiply<false>(sums, row, col, 0, 16, left_12", "wrong"),
    PLANT("first = number * 32", "first = (1 - number) * 32", "wrong"),
    PLANT("if (!(t_at < count)) return;\n                    const float v_14",
          "const float v_14", NULL),
    PLANT("carry_2[d_at * 28 + e_at] = 0.0f;", "", "wrong"),
    PLANT("40 - first < 32 ? 40 - first : 32", "32", NULL),
};

// ---- running

typedef struct {
    SimtArg args[8];
    void *data[8];
    uint32_t count;
} Arguments;

// Values are fractions with few bits, other ones in each argument.
static Arguments arguments_new(Arena *arena, const TileProgram *p, const Program *program) {
    Arguments a = {.count = p->args.len};
    for (uint32_t i = 0; i < a.count; i++) {
        const TileArg *arg = &p->args.ptr[i];
        size_t bytes = (size_t)arg->elements * dtype_bytes(arg->type);
        a.data[i] = arena_alloc(arena, bytes, 1);
        for (int64_t k = 0; k < arg->elements; k++)
            dtype_set(arg->type, a.data[i], k, (double)((k + 1) * 7919 % (113 + i) - 56) / 32);
        a.args[i] = (SimtArg){str_copy(arena, arg->name).ptr, a.data[i], bytes};
    }
    if (program->prepare) program->prepare(p, a.data);
    return a;
}

static bool all_near(const TileProgram *p, const Arguments *got, const Arguments *expected,
                     double tolerance) {
    bool near = true;
    for (uint32_t i = 0; i < got->count; i++)
        for (int64_t k = 0; k < p->args.ptr[i].elements; k++) {
            double g = dtype_get(p->args.ptr[i].type, got->data[i], k);
            double e = dtype_get(p->args.ptr[i].type, expected->data[i], k);
            near &= fabs(g - e) <= tolerance * (1 + fabs(e));
        }
    return near;
}

// Kernel 0 is as it was printed, and right.
static void expect_noticed(Program program, const Mutation *planted, uint32_t count) {
    TileBench bench;
    bench_open(&bench);
    Arena *arena = &bench.arena;
    const TileProgram *p = bench_program(&bench, program.text);
    CudaKernel *kernels = arena_alloc(arena, count + 1, sizeof *kernels);
    if (!cuda_emit(&bench.diag, arena, p, (EmitOptions){.level = program.arch}, kernels))
        assert_diag(&bench.diag, "");
    for (uint32_t i = 0; i < count; i++) {
        kernels[i + 1] = kernels[0];
        kernels[i + 1].text = mutation_apply(arena, kernels[0].text, &planted[i]);
    }
    Simt *simt;
    if (!simt_build(&bench.diag, arena, kernels, count + 1, &simt))
        assert_diag(&bench.diag, "");
    Arguments expected = arguments_new(arena, p, &program);
    tile_interpret(p, expected.data);
    uint32_t missed = 0;
    for (uint32_t i = 0; i <= count; i++) {
        Arguments got = arguments_new(arena, p, &program);
        Diag found;
        diag_init(&found, arena);
        bool passed = simt_check(&found, simt, i, (SimtArgs){got.args, got.count});
        bool right = passed && all_near(p, &got, &expected, program.tolerance);
        if (i == 0) {
            if (!passed) assert_diag(&found, "");
            assert_true(right);
        } else if (!mutation_noticed(&planted[i - 1], &found, passed, right)) {
            missed++;
        }
    }
    simt_close(simt);
    bench_close(&bench);
    assert_int_equal(missed, 0);
}

#define COUNT(array) (uint32_t)(sizeof(array) / sizeof *(array))

static void bugs_in_rows(void **state) {
    (void)state;
    expect_noticed((Program){softmax, CUDA_SM80, 1e-5, NULL}, in_softmax, COUNT(in_softmax));
}

// y[s, t] = sum over i of x[i, t] sigmoid(a[i, s, t] - z[s, t]) with a = x[i, t] . q[s] and
// z[s, t] = max over i of a.
static const char *mixes_text(Arena *arena) {
    enum { SOURCES = 16, QUERIES = 6 };
    int number = SOURCES;
    StrBuf out = {0};
    strbuf_addz(&out, "tile mixes stream\ngrid t = 3\ncol c = 264\narg x: f32[12672]\n"
                      "arg q: f32[1584]\narg y: f32[4752]\narg z: f32[18]\nknob blocks = 2\n");
    for (int i = 0; i < SOURCES; i++)
        strbuf_addf(&out, "%%%d = load x[t*264 + c + %d] : f32 (t, c)\n", i + 1, i * 792);
    for (int s = 0; s < QUERIES; s++) {
        int query = ++number, dots[SOURCES], top = 0, sum = 0;
        strbuf_addf(&out, "%%%d = load q[c + %d] : f32 (c)\n", query, s * 264);
        for (int i = 0; i < SOURCES; i++) {
            strbuf_addf(&out, "%%%d = map mul %%%d, %%%d : f32 (t, c)\n", number + 1, i + 1,
                        query);
            strbuf_addf(&out, "%%%d = reduce_sum %%%d over (c) : f32 (t)\n", number + 2,
                        number + 1);
            dots[i] = number += 2;
        }
        top = dots[0];
        for (int i = 1; i < SOURCES; i++) {
            strbuf_addf(&out, "%%%d = map max %%%d, %%%d : f32 (t)\n", number + 1, top,
                        dots[i]);
            top = ++number;
        }
        for (int i = 0; i < SOURCES; i++) {
            strbuf_addf(&out, "%%%d = map sub %%%d, %%%d : f32 (t)\n", number + 1, dots[i],
                        top);
            strbuf_addf(&out, "%%%d = map sigmoid %%%d : f32 (t)\n", number + 2, number + 1);
            strbuf_addf(&out, "%%%d = map mul %%%d, %%%d : f32 (t, c)\n", number + 3, i + 1,
                        number + 2);
            number += 3;
            if (i > 0)
                strbuf_addf(&out, "%%%d = map add %%%d, %%%d : f32 (t, c)\n", number + 1, sum,
                            number);
            number += i > 0;
            sum = number;
        }
        strbuf_addf(&out, "store y[t*264 + c + %d] = %%%d : f32 (t, c)\n", s * 792, sum);
        strbuf_addf(&out, "store z[t + %d] = %%%d : f32 (t)\n", s * 3, top);
        number += 2;
    }
    Str text = str_copy(arena, strbuf_view(&out));
    strbuf_release(&out);
    return text.ptr;
}

static void bugs_in_shared_scalars(void **state) {
    (void)state;
    Arena arena = {0};
    expect_noticed((Program){mixes_text(&arena), CUDA_SM80, 1e-4, NULL}, in_mixes,
                   COUNT(in_mixes));
    arena_release(&arena);
}

static void bugs_in_products_by_copies(void **state) {
    (void)state;
    expect_noticed((Program){by_copies, CUDA_SM80, ROUNDING, NULL}, in_copies,
                   COUNT(in_copies));
}

static void bugs_in_products_by_warpgroups(void **state) {
    (void)state;
    expect_noticed((Program){by_warpgroups, CUDA_SM90A, ROUNDING, NULL}, in_warpgroups,
                   COUNT(in_warpgroups));
}

// Weights are rounded to 9 bits.
static void bugs_in_attention(void **state) {
    (void)state;
    expect_noticed((Program){attention, CUDA_SM80, 0x1p-7, NULL}, in_attention,
                   COUNT(in_attention));
    expect_noticed((Program){attention_in_f32, CUDA_SM80, 40 * 0x1p-22, NULL},
                   in_attention_in_f32, COUNT(in_attention_in_f32));
    expect_noticed((Program){attention_from_start, CUDA_SM80, 0x1p-7, begin_prepare},
                   in_attention_from_start, COUNT(in_attention_from_start));
    expect_noticed((Program){attention_of_two, CUDA_SM80, 0x1p-7, NULL}, in_attention_of_two,
                   COUNT(in_attention_of_two));
}

static void bugs_in_gradients_of_attention(void **state) {
    (void)state;
    // Sums of up to 40 weights that were rounded to 9 bits, times numbers below 2.
    expect_noticed((Program){query_gradient, CUDA_SM80, 40 * 0x1p-8, NULL}, in_query_gradient,
                   COUNT(in_query_gradient));
    expect_noticed((Program){key_gradient, CUDA_SM80, 40 * 0x1p-8, NULL}, in_key_gradient,
                   COUNT(in_key_gradient));
    expect_noticed((Program){key_gradient_in_f32, CUDA_SM80, 40 * 0x1p-21, NULL},
                   in_key_gradient_in_f32, COUNT(in_key_gradient_in_f32));
}

static void bugs_in_recurrences(void **state) {
    (void)state;
    expect_noticed((Program){recurrence, CUDA_SM80, 3e-5, NULL}, in_recurrence,
                   COUNT(in_recurrence));
}

static void bugs_in_parts_of_k(void **state) {
    (void)state;
    expect_noticed((Program){parts_by_copies, CUDA_SM80, ROUNDING, NULL}, in_parts_by_copies,
                   COUNT(in_parts_by_copies));
    expect_noticed((Program){parts_by_warpgroups, CUDA_SM90A, ROUNDING, NULL},
                   in_parts_by_warpgroups, COUNT(in_parts_by_warpgroups));
    expect_noticed((Program){sum_of_parts, CUDA_SM80, 1e-6, NULL}, in_sum_of_parts,
                   COUNT(in_sum_of_parts));
}

// Keys from -1 to 6, of which 0 to 5 are groups.
static void keys_prepare(const TileProgram *p, void *const *args) {
    int32_t *keys = args[0];
    for (int32_t i = 0; i < p->args.ptr[0].elements; i++)
        keys[i] = i * 7919 % 113 % 8 - 1;
}

static void bugs_in_groups(void **state) {
    (void)state;
    Arena arena = {0};
    Program at = {grouped_at_text(&arena, &grouped).ptr, CUDA_SM80, ROUNDING, grouped_prepare};
    Program into = {grouped_into_text(&arena, &grouped).ptr, CUDA_SM80, ROUNDING,
                    grouped_prepare};
    Program order = {grouped_order_text(&arena, 1100, 6, "r").ptr, CUDA_SM80, 0, keys_prepare};
    expect_noticed(at, in_rows_at_groups, COUNT(in_rows_at_groups));
    expect_noticed(into, in_rows_into_groups, COUNT(in_rows_into_groups));
    expect_noticed(order, in_order, COUNT(in_order));
    arena_release(&arena);
}

int main(void) {
    if (!simt_available()) {
        print_message("skipped: no C++ compiler\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bugs_in_rows),
        cmocka_unit_test(bugs_in_shared_scalars),
        cmocka_unit_test(bugs_in_products_by_copies),
        cmocka_unit_test(bugs_in_products_by_warpgroups),
        cmocka_unit_test(bugs_in_parts_of_k),
        cmocka_unit_test(bugs_in_attention),
        cmocka_unit_test(bugs_in_recurrences),
        cmocka_unit_test(bugs_in_groups),
        cmocka_unit_test(bugs_in_gradients_of_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
