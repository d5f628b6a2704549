// test_init.c: the moments and structure of initial values, and that nothing but name, seed and
// index matters.
#include <math.h>

#include "runtime/init.h"
#include "tests/test.h"

enum { COUNT = 4096 };

static const int64_t shape[] = {2, 64, 4, 8};  // batch 2, inputs 64, outputs 4 x 8
static const Str axes[] = {{"n", 1}, {"d", 1}, {"h", 1}, {"k", 1}};

static void assert_near(double got, double expected, double margin) {
    if (!(fabs(got - expected) <= margin))
        fail_msg("expected %.17g within %g, got %.17g", expected, margin, got);
}

static PlanTensor tensor(DrawKind kind, double a, double b) {
    return (PlanTensor){.kind = TENSOR_PARAM,
                        .name = STR("layers.0.w"),
                        .type = DTYPE_F64,
                        .rank = 4,
                        .batch_count = 1,
                        .input_count = 1,
                        .shape = shape,
                        .axes = axes,
                        .init = {.kind = (uint8_t)kind, .a = a, .b = b}};
}

static double mean_of(const double *x) {
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += x[i];
    return sum / COUNT;
}

static double deviation_of(const double *x) {
    double sum = 0, mean = mean_of(x);
    for (int i = 0; i < COUNT; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sqrt(sum / COUNT);
}

// The mean of n values is off by deviation / sqrt(n), their deviation by deviation / sqrt(2n);
// five of those are allowed.
static void check_normal(const PlanTensor *t, double deviation) {
    double x[COUNT];
    init_tensor(t, 1, x);
    assert_near(mean_of(x), 0, 5 * deviation / sqrt(COUNT));
    assert_near(deviation_of(x), deviation, 5 * deviation / sqrt(2 * COUNT));
}

static void draws_normal(void **state) {
    (void)state;
    PlanTensor t = tensor(DRAW_NORMAL, 0.02, 0);
    check_normal(&t, 0.02);
}

static void draws_by_fan_in(void **state) {
    (void)state;
    PlanTensor t = tensor(DRAW_FAN_IN, 0, 0);
    check_normal(&t, 1.0 / 8);
}

static void draws_uniform(void **state) {
    (void)state;
    PlanTensor t = tensor(DRAW_UNIFORM, -2, 4);
    double x[COUNT];
    init_tensor(&t, 1, x);
    for (int i = 0; i < COUNT; i++)
        assert_true(x[i] >= -2 && x[i] <= 4);
    assert_near(mean_of(x), 1, 0.15);
    assert_near(deviation_of(x), sqrt(3), 0.1);
}

static void draws_log_uniform(void **state) {
    (void)state;
    PlanTensor t = tensor(DRAW_LOG_UNIFORM, 1e-3, 1e-1);
    double x[COUNT];
    init_tensor(&t, 1, x);
    int below = 0;
    for (int i = 0; i < COUNT; i++) {
        assert_true(x[i] >= 1e-3 * (1 - 1e-12) && x[i] <= 1e-1 * (1 + 1e-12));
        below += x[i] < 1e-2;
    }
    assert_in_range(below, COUNT / 2 - 160, COUNT / 2 + 160);
}

static void draws_constants_and_transforms(void **state) {
    (void)state;
    double x[COUNT];
    PlanTensor t = tensor(DRAW_CONSTANT, 2.5, 0);
    init_tensor(&t, 0, x);
    assert_near(x[COUNT - 1], 2.5, 0);
    t.init.transform = MAP_LOG;
    init_tensor(&t, 0, x);
    assert_near(x[0], log(2.5), 0);
    t.init.transform = MAP_SOFTPLUS_INVERSE;
    init_tensor(&t, 0, x);
    assert_near(log1p(exp(x[0])), 2.5, 1e-14);
    t.init.a = 1e-4;
    init_tensor(&t, 0, x);
    assert_near(log1p(exp(x[0])) / 1e-4, 1, 1e-12);
}

static void draws_identities(void **state) {
    (void)state;
    double x[COUNT];
    PlanTensor t = tensor(DRAW_IDENTITY, 0.5, 0);
    init_tensor(&t, 0, x);
    for (int i = 0; i < COUNT; i++) {
        int row = i / 8 % 4, column = i % 8;
        assert_near(x[i], row == column ? 0.5 : 0, 0);
    }
}

static void draws_unit_vectors(void **state) {
    (void)state;
    double x[COUNT];
    PlanTensor t = tensor(DRAW_UNIT, 5, -2);
    init_tensor(&t, 0, x);
    for (int i = 0; i < COUNT; i++)
        assert_near(x[i], i % 8 == 5 ? -2 : 0, 0);
}

// The products of rows i and j, or of columns, of each (rows x columns) matrix must be a^2 on
// the diagonal and 0 elsewhere.
static void check_orthogonal(const double *x, int rows, int columns, double a) {
    bool tall = rows >= columns;
    int count = tall ? columns : rows, length = tall ? rows : columns;
    int step = tall ? columns : 1, vector = tall ? 1 : columns;
    for (int i = 0; i < count; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int k = 0; k < length; k++)
                sum += x[i * vector + k * step] * x[j * vector + k * step];
            assert_near(sum, i == j ? a * a : 0, 1e-13);
        }
    }
}

static void draws_orthogonal_matrices(void **state) {
    (void)state;
    double x[COUNT];
    PlanTensor t = tensor(DRAW_ORTHOGONAL, 1.5, 0);
    init_tensor(&t, 3, x);
    check_orthogonal(x, 64, 32, 1.5);
    check_orthogonal(x + 2048, 64, 32, 1.5);
    assert_true(x[0] != x[2048]);
    t.batch_count = 2;  // 128 matrices of 4 x 8
    init_tensor(&t, 3, x);
    for (int64_t b = 0; b < 128; b++)
        check_orthogonal(x + b * 32, 4, 8, 1.5);
}

static void depends_on_name_and_seed_alone(void **state) {
    (void)state;
    static const int64_t flat[] = {COUNT};
    double x[COUNT], y[COUNT];
    PlanTensor t = tensor(DRAW_NORMAL, 1, 0), u = t;
    init_tensor(&t, 7, x);
    u.rank = 1;
    u.shape = flat;
    u.batch_count = u.input_count = 0;
    init_tensor(&u, 7, y);
    assert_memory_equal(x, y, sizeof x);
    u.name = STR("layers.1.w");
    init_tensor(&u, 7, y);
    assert_true(x[0] != y[0]);
    init_tensor(&t, 8, y);
    assert_true(x[0] != y[0]);
}

static void rounds_to_the_type(void **state) {
    (void)state;
    double x[COUNT];
    float y[COUNT];
    uint16_t z[COUNT];
    PlanTensor t = tensor(DRAW_NORMAL, 1, 0);
    init_tensor(&t, 7, x);
    t.type = DTYPE_F32;
    init_tensor(&t, 7, y);
    t.type = DTYPE_BF16;
    init_tensor(&t, 7, z);
    for (int i = 0; i < COUNT; i++) {
        assert_true(y[i] == (float)x[i]);
        assert_near((double)bf16_to(z[i]), x[i], fabs(x[i]) / 256);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_normal),
        cmocka_unit_test(draws_by_fan_in),
        cmocka_unit_test(draws_uniform),
        cmocka_unit_test(draws_log_uniform),
        cmocka_unit_test(draws_constants_and_transforms),
        cmocka_unit_test(draws_identities),
        cmocka_unit_test(draws_unit_vectors),
        cmocka_unit_test(draws_orthogonal_matrices),
        cmocka_unit_test(depends_on_name_and_seed_alone),
        cmocka_unit_test(rounds_to_the_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
