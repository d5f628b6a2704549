// simt_kernels.c: see simt_kernels.h. Numbers are small and whole: their products and sums are
// exact in every format and order.
#include "tests/simt/simt_kernels.h"

#include <math.h>
#include <string.h>

#include "base/dtype.h"
#include "base/io.h"
#include "tests/test.h"

static float small_number(size_t i) { return (float)(i * 2654435761U >> 13 & 7) - 3; }

static void *argument(Arena *arena, SimtCase *c, const char *name, size_t count, DType type) {
    size_t bytes = count * dtype_bytes(type);
    void *data = arena_alloc(arena, bytes, 1);
    memset(data, 0, bytes);
    c->args[c->count++] = (SimtArg){name, data, bytes};
    return data;
}

static uint16_t *argument_bf16(Arena *arena, SimtCase *c, const char *name, size_t count) {
    uint16_t *x = argument(arena, c, name, count, DTYPE_BF16);
    for (size_t i = 0; i < count; i++)
        x[i] = bf16_of(small_number(i + (size_t)c->count * 777));
    return x;
}

static float *argument_f32(Arena *arena, SimtCase *c, const char *name, size_t count) {
    float *x = argument(arena, c, name, count, DTYPE_F32);
    for (size_t i = 0; i < count; i++)
        x[i] = small_number(i);
    return x;
}

// ---- rows

static bool rows_right(const SimtCase *c) {
    const float *y = c->args[0].data;
    const uint16_t *x = c->args[1].data;
    bool right = true;
    for (size_t row = 0; row < 3; row++) {
        float sum = 0;
        for (size_t i = 0; i < 2048; i++)
            sum += bf16_to(x[row * 2048 + i]);
        right &= y[row] == sum;
    }
    return right;
}

static SimtCase rows_new(Arena *arena) {
    SimtCase c = {.file = "rows", .right = rows_right};
    c.kernel.launch = (Launch){.blocks = 3, .threads = 256};
    argument(arena, &c, "y", 3, DTYPE_F32);
    argument_bf16(arena, &c, "x", (size_t)3 * 2048);
    return c;
}

// ---- copies by threads, through a ring

static bool copies_right(const SimtCase *c) {
    const float *y = c->args[0].data, *x = c->args[1].data;
    bool right = true;
    for (size_t i = 0; i < 512; i++)
        right &= y[i] == x[i] + x[i ^ 63];
    return right;
}

static SimtCase copies_new(Arena *arena) {
    SimtCase c = {.file = "copies", .right = copies_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 64};
    argument(arena, &c, "y", 512, DTYPE_F32);
    argument_f32(arena, &c, "x", 512);
    return c;
}

// ---- products of a warp

static bool product_right(const SimtCase *c) {
    const float *y = c->args[0].data, *z = c->args[1].data;
    const uint16_t *a = c->args[2].data, *b = c->args[3].data;
    bool right = true;
    for (size_t i = 0; i < 256; i++) {
        float sum = 0;
        for (size_t k = 0; k < 16; k++)
            sum += 2 * bf16_to(a[i / 16 * 16 + k]) * bf16_to(b[k * 16 + i % 16]);
        right &= y[i] == sum && z[i] == sum;
    }
    return right;
}

static SimtCase product_new(Arena *arena) {
    SimtCase c = {.file = "product", .right = product_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 32, .shared_bytes = 1536};
    argument(arena, &c, "y", 256, DTYPE_F32);
    argument(arena, &c, "z", 256, DTYPE_F32);
    argument_bf16(arena, &c, "a", 256);
    const uint16_t *b = argument_bf16(arena, &c, "b", 256);
    uint16_t *bt = argument_bf16(arena, &c, "bt", 256);
    for (size_t i = 0; i < 256; i++)
        bt[i % 16 * 16 + i / 16] = b[i];
    return c;
}

// A small number and a bit less than half a unit of 11 bits, which goes by rounding to nearest.
static bool tf32_right(const SimtCase *c) {
    const float *y = c->args[0].data;
    bool right = true;
    for (size_t i = 0; i < 256; i++) {
        float sum = 0;
        for (size_t k = 0; k < 16; k++)
            sum += small_number(i / 16 * 16 + k) * small_number(k * 16 + i % 16);
        right &= y[i] == sum;
    }
    return right;
}

static SimtCase tf32_new(Arena *arena) {
    SimtCase c = {.file = "tf32", .right = tf32_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 32};
    argument(arena, &c, "y", 256, DTYPE_F32);
    float *a = argument_f32(arena, &c, "a", 256);
    argument_f32(arena, &c, "b", 256);
    for (size_t i = 0; i < 256; i++)
        a[i] -= a[i] * 0x1p-13F;
    return c;
}

// ---- rows in bulk, through a ring

static bool ring_right(const SimtCase *c) {
    const float *y = c->args[0].data, *x = c->args[1].data;
    bool right = true;
    for (size_t i = 0; i < 640; i++)
        right &= y[i] == 2 * x[i];
    return right;
}

static SimtCase ring_new(Arena *arena) {
    SimtCase c = {.file = "ring", .right = ring_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 64, .shared_bytes = 2048};
    argument(arena, &c, "y", 640, DTYPE_F32);
    argument_f32(arena, &c, "x", 640);
    return c;
}

// ---- boxes of tensors

enum { BOX_X = 40, BOX_Y = 10, BOX_Z = 3, PLANE = BOX_X * BOX_Y, BOX = PLANE * BOX_Z };

// Where PTX says that 16 bytes of a row lie: chunk c of line l is at c ^ l % (SPAN / 16), where
// lines are of 128 bytes whatever the width of a row.
static size_t swizzled(size_t byte, size_t span) {
    size_t line = byte / 128, chunk = byte / 16 % 8;
    return span == 0 ? byte : line * 128 + (chunk ^ line % (span / 16)) * 16 + byte % 16;
}

static bool box_right(const SimtCase *c) {
    const uint16_t *y = c->args[0].data, *raw = c->args[1].data, *x = c->args[2].data;
    const TensorMapSpec *map = &c->kernel.launch.maps[1];
    bool right = true;
    for (uint32_t i = 0; i < 1024; i++) {
        int64_t at[3] = {(int64_t)(i % map->box[0]) - 4,
                         (int64_t)(i / map->box[0] % map->box[1]) - 2, (int64_t)(i / 512) + 1};
        bool inside =
            at[0] >= 0 && at[0] < BOX_X && at[1] >= 0 && at[1] < BOX_Y && at[2] < BOX_Z;
        size_t place = inside ? (size_t)(at[0] + BOX_X * at[1] + PLANE * at[2]) : 0;
        right &= raw[swizzled((size_t)2 * i, map->swizzle) / 2] == (inside ? x[place] : 0);
        if (inside) right &= y[place] == x[place];
    }
    return right;
}

static SimtCase box_new(Arena *arena, uint32_t span) {
    SimtCase c = {.file = "box", .right = box_right};
    Launch launch = {.blocks = 1, .threads = 32, .shared_bytes = 5120, .map_count = 2};
    // 1024 elements in two planes; a row is as wide as the swizzle allows.
    uint32_t width = span ? span / 2 : 64;
    launch.maps[0] = launch.maps[1] = (TensorMapSpec){.arg = 2,
                                                      .type = DTYPE_BF16,
                                                      .rank = 3,
                                                      .extent = {BOX_X, BOX_Y, BOX_Z},
                                                      .stride = {1, BOX_X, PLANE},
                                                      .box = {width, 512 / width, 2},
                                                      .swizzle = span};
    launch.maps[1].arg = 0;
    c.kernel.launch = launch;
    argument(arena, &c, "y", BOX, DTYPE_BF16);
    argument(arena, &c, "raw", 1024, DTYPE_BF16);
    uint16_t *x = argument_bf16(arena, &c, "x", BOX);
    for (uint32_t i = 0; i < BOX; i++)
        x[i] = (uint16_t)(i + 1);
    return c;
}

static SimtCase box_0_new(Arena *arena) { return box_new(arena, 0); }
static SimtCase box_32_new(Arena *arena) { return box_new(arena, 32); }
static SimtCase box_64_new(Arena *arena) { return box_new(arena, 64); }
static SimtCase box_128_new(Arena *arena) { return box_new(arena, 128); }

// ---- products of a warpgroup

static bool warpgroup_right(const SimtCase *c) {
    const float *y = c->args[0].data;
    const uint16_t *a = c->args[1].data, *b = c->args[3].data;
    bool right = true;
    for (size_t i = 0; i < 4096; i++) {
        float sum = 0;
        for (size_t k = 0; k < 64; k++)
            sum += 2 * bf16_to(a[i / 64 * 64 + k]) * bf16_to(b[k * 64 + i % 64]);
        for (size_t way = 0; way < 4; way++)
            right &= y[way * 4096 + i] == sum;
    }
    return right;
}

static SimtCase warpgroup_new(Arena *arena) {
    SimtCase c = {.file = "warpgroup", .right = warpgroup_right};
    Launch launch = {.blocks = 1, .threads = 128, .shared_bytes = 33792, .map_count = 4};
    for (uint32_t i = 0; i < 4; i++)
        launch.maps[i] = (TensorMapSpec){.arg = i + 1,
                                         .type = DTYPE_BF16,
                                         .rank = 2,
                                         .extent = {64, 64},
                                         .stride = {1, 64},
                                         .box = {64, 64},
                                         .swizzle = 128};
    c.kernel.launch = launch;
    argument(arena, &c, "y", (size_t)4 * 4096, DTYPE_F32);
    const uint16_t *a = argument_bf16(arena, &c, "a", 4096);
    uint16_t *at = argument_bf16(arena, &c, "at", 4096);
    const uint16_t *b = argument_bf16(arena, &c, "b", 4096);
    uint16_t *bt = argument_bf16(arena, &c, "bt", 4096);
    for (size_t i = 0; i < 4096; i++) {
        at[i % 64 * 64 + i / 64] = a[i];
        bt[i % 64 * 64 + i / 64] = b[i];
    }
    return c;
}

static bool widths_right(const SimtCase *c) {
    const float *y = c->args[0].data;
    const uint16_t *a = c->args[1].data, *b = c->args[2].data;
    bool right = true;
    for (size_t n = 8; n <= 256; y += 64 * n, n += 8)
        for (size_t i = 0; i < 64 * n; i++) {
            float sum = 0;
            for (size_t k = 0; k < 16; k++)
                sum += bf16_to(a[i / n * 64 + k]) * bf16_to(b[i % n * 64 + k]);
            right &= y[i] == sum;
        }
    return right;
}

// Of rows of 64 elements along k, 16 are used.
static SimtCase widths_new(Arena *arena) {
    SimtCase c = {.file = "widths", .right = widths_right};
    Launch launch = {.blocks = 1, .threads = 128, .shared_bytes = 40976, .map_count = 2};
    for (uint32_t i = 0; i < 2; i++)
        launch.maps[i] = (TensorMapSpec){.arg = i + 1,
                                         .type = DTYPE_BF16,
                                         .rank = 2,
                                         .extent = {64, i ? 256 : 64},
                                         .stride = {1, 64},
                                         .box = {64, 64},
                                         .swizzle = 128};
    c.kernel.launch = launch;
    size_t columns = 8 * 32 * 33 / 2;  // of all widths
    argument(arena, &c, "y", 64 * columns, DTYPE_F32);
    argument_bf16(arena, &c, "a", (size_t)64 * 64);
    argument_bf16(arena, &c, "b", (size_t)256 * 64);
    return c;
}

// ---- clusters

static bool cluster_right(const SimtCase *c) {
    const float *y = c->args[0].data, *x = c->args[1].data;
    bool right = true;
    for (size_t block = 0; block < 4; block++)
        for (size_t i = 0; i < 256; i++) {
            const float *row = x + (block / 2 * 8 + i / 32) * 64;
            right &= y[block * 256 + i] == row[i % 32] + row[i % 32 + 32];
        }
    return right;
}

static SimtCase cluster_new(Arena *arena) {
    SimtCase c = {.file = "cluster", .right = cluster_right};
    Launch launch = {
        .blocks = 4, .threads = 64, .cluster = 2, .shared_bytes = 2080, .map_count = 1};
    launch.maps[0] = (TensorMapSpec){.arg = 1,
                                     .type = DTYPE_F32,
                                     .rank = 2,
                                     .extent = {64, 16},
                                     .stride = {1, 64},
                                     .box = {32, 1}};
    c.kernel.launch = launch;
    argument(arena, &c, "y", (size_t)4 * 256, DTYPE_F32);
    argument_f32(arena, &c, "x", (size_t)16 * 64);
    return c;
}

// ---- formats

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static bool numbers_right(const SimtCase *c) {
    const uint32_t *y = c->args[0].data;
    const float *x = c->args[1].data;
    bool right = true;
    for (size_t i = 0; i < 32; i++, x += 4, y += 8) {
        uint16_t low = bf16_of(x[0]), high = bf16_of(x[1]), half = f16_of(x[2]);
        const uint32_t expected[8] = {(uint32_t)high << 16 | low,
                                      (uint32_t)half << 16 | f16_of(x[1]),
                                      (uint32_t)bf16_of(x[2]) << 16 | half,
                                      bits_of(f16_to(half)),
                                      bits_of(bf16_to(low)),
                                      bits_of(bf16_to(high)),
                                      y[6],
                                      bits_of(x[0])};
        float power;
        memcpy(&power, y + 6, sizeof power);
        right &= memcmp(y, expected, sizeof expected) == 0 &&
                 fabsf(power / exp2f(x[3]) - 1) <= 0x1p-22F;
    }
    return right;
}

// No format has these numbers. PTX gives ex2.approx an error of 2^-22.
static SimtCase numbers_new(Arena *arena) {
    SimtCase c = {.file = "numbers", .right = numbers_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 32};
    argument(arena, &c, "y", 256, DTYPE_F32);
    float *x = argument_f32(arena, &c, "x", 128);
    for (size_t i = 0; i < 128; i++)
        if (i % 4 != 3) x[i] = ((float)i - 60.4F) / 7;
    return c;
}

// ---- warpgroups that copy and multiply

static bool roles_right(const SimtCase *c) {
    const uint16_t *y = c->args[0].data, *a = c->args[1].data, *b = c->args[2].data;
    bool right = true;
    for (size_t i = 0; i < 2048; i++) {
        float sum = 0;
        for (size_t k = 0; k < 16 && i / 16 < 124; k++)
            sum += 2 * f16_to(a[i / 16 * 16 + k]) * f16_to(b[k * 16 + i % 16]);
        right &= f16_to(y[i]) == sum;
    }
    return right;
}

static SimtCase roles_new(Arena *arena) {
    SimtCase c = {.file = "roles", .right = roles_right};
    c.kernel.launch = (Launch){.blocks = 1, .threads = 384, .shared_bytes = 8720};
    argument(arena, &c, "y", 2048, DTYPE_F16);
    size_t count = (size_t)124 * 16;
    uint16_t *a = argument(arena, &c, "a", count, DTYPE_F16);
    uint16_t *b = argument(arena, &c, "b", 256, DTYPE_F16);
    for (size_t i = 0; i < count; i++)
        a[i] = f16_of(small_number(i));
    for (size_t i = 0; i < 256; i++)
        b[i] = f16_of(small_number(i + 777));
    return c;
}

// ---- tensors of 2, 3 and 4 dimensions

static TensorMapSpec map_of(uint32_t rank, uint32_t arg) {
    static const TensorMapSpec maps[3] = {
        {.rank = 2, .extent = {32, 16}, .stride = {1, 32}, .box = {32, 2}},
        {.rank = 3, .extent = {32, 4, 4}, .stride = {1, 32, 128}, .box = {32, 2, 1}},
        {.rank = 4, .extent = {32, 4, 2, 2}, .stride = {1, 32, 128, 256}, .box = {32, 2, 1, 1}},
    };
    TensorMapSpec map = maps[rank - 2];
    map.arg = arg;
    map.type = DTYPE_F32;
    return map;
}

static void argument_count_up(Arena *arena, SimtCase *c, const char *name) {
    float *x = argument(arena, c, name, 512, DTYPE_F32);
    for (size_t i = 0; i < 512; i++)
        x[i] = (float)i;
}

static bool lines_right(const SimtCase *c) {
    return memcmp(c->args[0].data, c->args[1].data, c->args[0].bytes) == 0;
}

static SimtCase lines_new(Arena *arena) {
    SimtCase c = {.file = "lines", .right = lines_right};
    Launch launch = {.blocks = 1, .threads = 32, .shared_bytes = 2064, .map_count = 2};
    launch.maps[0] = map_of(2, 1);
    launch.maps[1] = map_of(2, 0);
    c.kernel.launch = launch;
    argument(arena, &c, "y", 512, DTYPE_F32);
    argument_count_up(arena, &c, "x");
    return c;
}

static bool planes_right(const SimtCase *c) {
    const float *y = c->args[0].data, *z = c->args[1].data, *x = c->args[2].data;
    bool right = true;
    for (size_t i = 0; i < 512; i++)
        right &= y[i] == 7 * x[i] && y[512 + i] == 7 * x[i] && z[i] == x[i];
    return right;
}

static SimtCase planes_new(Arena *arena) {
    SimtCase c = {.file = "planes", .right = planes_right};
    Launch launch = {
        .blocks = 2, .threads = 32, .cluster = 2, .shared_bytes = 6160, .map_count = 3};
    launch.maps[0] = map_of(3, 2);
    launch.maps[1] = map_of(4, 2);
    launch.maps[2] = map_of(4, 1);
    c.kernel.launch = launch;
    argument(arena, &c, "y", 1024, DTYPE_F32);
    argument(arena, &c, "z", 512, DTYPE_F32);
    argument_count_up(arena, &c, "x");
    return c;
}

SimtCase simt_case(Arena *arena, SimtCaseName name) {
    static SimtCase (*const cases[])(Arena *) = {
#define CASE(upper, lower) [CASE_##upper] = lower##_new,
        SIMT_CASES(CASE)
#undef CASE
    };
    SimtCase c = cases[name](arena);
    if (!c.kernel.launch.cluster) c.kernel.launch.cluster = 1;
    Diag diag;
    diag_init(&diag, arena);
    Str path = str_printf(arena, "tests/simt/kernels/%s.cu", c.file);
    if (!io_read(&diag, arena, path, &c.kernel.text)) assert_diag(&diag, "");
    return c;
}
