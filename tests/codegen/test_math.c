// test_math.c: largest errors of the elementary functions, in units in the last place, against
// libm in double precision.
#include <math.h>

#include "runtime/object.h"
#include "tests/codegen/kernel_bench.h"

typedef struct {
    GraphOp fn;
    double (*reference)(double);
    double least, most;  // the sweep; all floats between, a few thousand of them
    double ulps;
} Case;

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double rsqrt(double x) { return 1 / sqrt(x); }

static const Case cases[] = {
    {OP_EXP, exp, -110, 100, 1.0},      {OP_LOG, log, 0, INFINITY, 1.5},
    {OP_TANH, tanh, -12, 12, 2.0},      {OP_SIGMOID, sigmoid, -110, 110, 2.5},
    {OP_SIN, sin, -1e5, 1e5, 1.5},      {OP_COS, cos, -1e5, 1e5, 1.5},
    {OP_ERF, erf, -6, 6, 2.0},          {OP_RSQRT, rsqrt, 0, INFINITY, 1.5},
    {OP_SQRT, sqrt, 0, INFINITY, 0.51}, {OP_FLOOR, floor, -1e9, 1e9, 0},
};
enum { CASES = sizeof cases / sizeof *cases, POINTS = 60000 };

// y = fn(x) over `count` cols, with so many that the widths of tails occur as well.
static TileProgram *unary_new(Arena *arena, GraphOp fn, int64_t count) {
    TileProgram *p = tile_new(arena, str_of(op_text(fn)), TILE_STREAM);
    uint32_t c = tile_dim(p, STR("c"), count, count, DIM_COL);
    TileAccess at = tile_access(tile_arg(p, STR("x"), DTYPE_F32, count));
    at.stride[c] = 1;
    TileId x = tile_load(p, at, (Span){0});
    TileId y = tile_map(p, fn, DTYPE_F32, &x, (Span){0});
    at.arg = tile_arg(p, STR("y"), DTYPE_F32, count);
    tile_store(p, at, y, (Span){0});
    return p;
}

static void run(const TileProgram *p, IsaLevel level, void *const *args) {
    Arena arena = {0};
    Diag diag;
    diag_init(&diag, &arena);
    EmittedKernel kernel;
    Object object;
    assert_true(emit_kernel(&diag, &arena, p, (EmitOptions){.level = level}, &kernel));
    assert_true(object_load(&diag, p->name, kernel.object, &object));
    object.entry(args, 0, kernel.tasks, NULL);
    object_unload(&object);
    arena_release(&arena);
}

// Distance of x from the exact result in units in the last place of a float there.
static double ulps(float x, double exact) {
    if (isnan(exact)) return isnan(x) ? 0 : INFINITY;
    float near = (float)exact;
    if (isinf(near) || isinf(x)) return x == near || fabs(exact) > 3.4028235e38 ? 0 : INFINITY;
    int exponent;
    frexp(exact, &exponent);
    double unit = ldexp(1, exponent - 24);
    if (unit < 0x1p-149) unit = 0x1p-149;
    return fabs((double)x - exact) / unit;
}

// The floats from least to most lie evenly among their bit patterns, so small ones are as many
// as large ones.
static float sweep_point(const Case *c, int i) {
    if (c->least < 0) {
        int pair = i / 2, pairs = POINTS / 2;
        double u = (double)pair / pairs;
        float most = (float)c->most, least = 1e-12F;
        uint32_t low, high;
        memcpy(&low, &least, 4);
        memcpy(&high, &most, 4);
        uint32_t bits = low + (uint32_t)(u * (double)(high - low));
        float x;
        memcpy(&x, &bits, 4);
        return i % 2 ? -x : x;
    }
    uint32_t bits = (uint32_t)((double)i / POINTS * 0x7f800000);
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

static void check_case(const Case *c, IsaLevel level) {
    Arena arena = {0};
    float *x = arena_array(&arena, float, POINTS), *y = arena_array(&arena, float, POINTS);
    for (int i = 0; i < POINTS; i++)
        x[i] = sweep_point(c, i);
    void *args[] = {x, y};
    run(unary_new(&arena, c->fn, POINTS), level, args);
    double worst = 0;
    float where = 0;
    for (int i = 0; i < POINTS; i++) {
        double error = ulps(y[i], c->reference((double)x[i]));
        if (error <= worst) continue;
        worst = error;
        where = x[i];
    }
    print_message("%-8s %-8s %6.2f ulp at %.9g\n", op_text(c->fn), isa_level_text(level), worst,
                  (double)where);
    // Without FMA every product is rounded.
    double bound = level == CPU_PORTABLE ? 1.25 * c->ulps : c->ulps;
    if (worst > bound) fail_msg("%s may have an error of %g ulp", op_text(c->fn), bound);
    arena_release(&arena);
}

static void errors_are_small(void **state) {
    (void)state;
    kernel_need_compiler();
    for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++)
        for (int i = 0; i < CASES; i++)
            check_case(&cases[i], (IsaLevel)level);
}

// Infinities, zeros, NaN, denormals and numbers too large.
static void check_corners(const Case *c, IsaLevel level, int lanes) {
    static const float corners[] = {0.0F,      -0.0F,     INFINITY, -INFINITY, NAN,     1e-45F,
                                    -1e-45F,   1e-39F,    3.4e38F,  -3.4e38F,  1.0F,    -1.0F,
                                    88.72283F, 88.72284F, -87.4F,   -103.9F,   -104.0F, 0.625F};
    enum { COUNT = sizeof corners / sizeof *corners };
    Arena arena = {0};
    float x[16], y[16] = {0};
    for (int first = 0; first < COUNT; first += lanes) {
        for (int k = 0; k < lanes; k++)
            x[k] = corners[(first + k) % COUNT];
        void *args[] = {x, y};
        run(unary_new(&arena, c->fn, lanes), level, args);
        for (int k = 0; k < lanes; k++)
            if (!(ulps(y[k], c->reference((double)x[k])) <= c->ulps))
                fail_msg("%s at %s: %s(%g) = %g", op_text(c->fn), isa_level_text(level),
                         op_text(c->fn), (double)x[k], (double)y[k]);
    }
    arena_release(&arena);
}

static void corners_are_exact(void **state) {
    (void)state;
    kernel_need_compiler();
    for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++)
        for (int i = 0; i < CASES; i++)
            for (int lanes = 1; lanes <= 16; lanes *= 2)
                if (cases[i].fn != OP_SIN && cases[i].fn != OP_COS)
                    check_corners(&cases[i], (IsaLevel)level, lanes);
}

// ---- powers

static TileProgram *pow_new(Arena *arena, int64_t count, const double *exponent) {
    TileProgram *p = tile_new(arena, STR("pow"), TILE_STREAM);
    uint32_t c = tile_dim(p, STR("c"), count, count, DIM_COL);
    TileAccess at = tile_access(tile_arg(p, STR("x"), DTYPE_F32, count));
    at.stride[c] = 1;
    TileId in[2] = {tile_load(p, at, (Span){0})};
    at.arg = tile_arg(p, STR("y"), DTYPE_F32, count);
    in[1] = exponent ? tile_const(p, *exponent, DTYPE_F32) : tile_load(p, at, (Span){0});
    TileId z = tile_map(p, OP_POW, DTYPE_F32, in, (Span){0});
    at.arg = tile_arg(p, STR("z"), DTYPE_F32, count);
    tile_store(p, at, z, (Span){0});
    return p;
}

enum { POWERS = 4000 };

static void check_pow(IsaLevel level, const double *exponent, double bound) {
    Arena arena = {0};
    float x[POWERS], y[POWERS], z[POWERS];
    for (int i = 0; i < POWERS; i++) {
        x[i] = (float)exp(-20 + 40.0 * i / POWERS);
        y[i] = (float)(-6 + 12.0 * (i * 7919 % POWERS) / POWERS);
        bool negative = exponent && *exponent == floor(*exponent) && i % 2;
        if (negative) x[i] = -x[i];
    }
    void *args[] = {x, y, z};
    run(pow_new(&arena, POWERS, exponent), level, args);
    double worst = 0;
    for (int i = 0; i < POWERS; i++)
        worst = fmax(worst, ulps(z[i], pow((double)x[i], exponent ? *exponent : (double)y[i])));
    print_message("pow %-8s %-8g %5.2f ulp\n", isa_level_text(level),
                  exponent ? *exponent : 0.0, worst);
    if (worst > bound) fail_msg("pow may have an error of %g ulp", bound);
    arena_release(&arena);
}

static void powers_are_accurate(void **state) {
    (void)state;
    kernel_need_compiler();
    static const double exponents[] = {0, 1, 2, 3, -1, -2, 7, 0.5, -0.5, 1.5, 31};
    for (int level = CPU_PORTABLE; level <= (int)cpu_level_here(); level++) {
        check_pow((IsaLevel)level, NULL, 1.5);
        for (int i = 0; i < 11; i++)
            check_pow((IsaLevel)level, &exponents[i], 1.5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(corners_are_exact),
        cmocka_unit_test(powers_are_accurate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
