// test_memory.c: the memory planner on steps made by hand and at random.
#include "base/rng.h"
#include "ir/graph/pass_memory.h"
#include "tests/test.h"

#define LIST(...) \
    (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)
#define READS(...)                            \
    .reads = (const uint32_t[]){__VA_ARGS__}, \
    .read_count = sizeof((uint32_t[]){__VA_ARGS__}) / 4
#define WRITES(...)                            \
    .writes = (const uint32_t[]){__VA_ARGS__}, \
    .write_count = sizeof((uint32_t[]){__VA_ARGS__}) / 4
#define IN_PLACE(a, b) .in_place = (const MemoryInPlace[]){{a, b}}, .in_place_count = 1

static MemoryPlan *sound_plan(const MemoryProblem *m, Arena *arena) {
    MemoryPlan *plan = pass_memory(m, arena);
    const char *why = memory_violation(m, plan, arena);
    if (why) fail_msg("%s", why);
    return plan;
}

static void test_chain_needs_two_buffers(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[6] = {{.bytes = 100, .persistent = true},
                               {100, false},
                               {100, false},
                               {100, false},
                               {100, false},
                               {.persistent = true}};
    const MemoryStep steps[] = {{READS(0), WRITES(1)},
                                {READS(1), WRITES(2)},
                                {READS(2), WRITES(3)},
                                {READS(3), WRITES(4)},
                                {READS(4), WRITES(5)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 6, .steps = steps, .step_count = 5};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_int_equal(plan->bytes, 256);
    assert_int_equal(plan->least, 200);
    assert_int_equal(plan->offset[0], MEMORY_NOWHERE);
    assert_int_equal(plan->offset[5], MEMORY_NOWHERE);
    assert_int_equal(plan->offset[1], plan->offset[3]);
    arena_release(&arena);
}

static void test_chain_in_place_needs_one(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[4] = {{100, false}, {100, false}, {100, false}, {100, false}};
    const MemoryStep steps[] = {{WRITES(0)},
                                {READS(0), WRITES(1), IN_PLACE(0, 1)},
                                {READS(1), WRITES(2), IN_PLACE(1, 2)},
                                {READS(2), WRITES(3), IN_PLACE(2, 3)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 4, .steps = steps, .step_count = 4};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_int_equal(plan->bytes, 128);
    arena_release(&arena);
}

static void test_no_place_of_what_is_read_later(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[3] = {{100, false}, {100, false}, {.persistent = true}};
    const MemoryStep steps[] = {{WRITES(0)},
                                {READS(0), WRITES(1), IN_PLACE(0, 1)},
                                {READS(0, 1), WRITES(2), IN_PLACE(0, 2)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 3, .steps = steps, .step_count = 3};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_true(plan->offset[0] != plan->offset[1]);
    arena_release(&arena);
}

// Two results may both take a dying operand's place, but not together.
static void test_one_heir(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[3] = {{64, false}, {64, false}, {64, false}};
    const MemoryInPlace both[] = {{0, 1}, {0, 2}};
    const MemoryStep steps[] = {{WRITES(0)},
                                {READS(0), WRITES(1, 2), .in_place = both, .in_place_count = 2},
                                {READS(1, 2)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 3, .steps = steps, .step_count = 3};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_int_equal(plan->offset[0], plan->offset[1]);
    assert_int_equal(plan->bytes, 128);
    arena_release(&arena);
}

static void test_group_is_consecutive(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[5] = {
        {100, false}, {40, false}, {60, false}, {1000, false}, {60, false}};
    const MemoryStep steps[] = {{WRITES(0)},
                                {WRITES(1)},
                                {READS(0), WRITES(2)},
                                {WRITES(3)},
                                {READS(0, 1, 2, 3), WRITES(4)}};
    const MemoryGroup group = {LIST(2, 0, 1)};
    MemoryProblem m = {.buffers = buffers,
                       .buffer_count = 5,
                       .steps = steps,
                       .step_count = 5,
                       .groups = &group,
                       .group_count = 1};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_int_equal(plan->offset[0], plan->offset[2] + 60);
    assert_int_equal(plan->offset[1], plan->offset[0] + 100);
    plan->offset[1] += 64;
    assert_string_equal(memory_violation(&m, plan, &arena),
                        "buffer 1 does not follow buffer 0");
    arena_release(&arena);
}

// Of two holes, the one that fits tighter: buffers 1 and 3 leave holes of 256 and 128 bytes
// between long-lived ones.
static void test_tightest_hole(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[6] = {{1024, false}, {256, false}, {192, false},
                               {128, false},  {112, false}, {100, false}};
    const MemoryStep steps[] = {{WRITES(0, 1, 2, 3, 4)}, {WRITES(5)}, {READS(0, 2, 4, 5)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 6, .steps = steps, .step_count = 3};
    MemoryPlan *plan = sound_plan(&m, &arena);
    assert_int_equal(plan->offset[5], plan->offset[3]);
    assert_int_equal(plan->bytes, 1024 + 256 + 192 + 128 + 128);
    arena_release(&arena);
}

// ---- at random

enum { BUFFERS = 40, STEPS = 30, GROUPS = 3 };

typedef struct {
    MemoryBuffer buffers[BUFFERS];
    MemoryStep steps[STEPS];
    MemoryGroup groups[GROUPS];
    uint32_t lists[STEPS][2][4], members[GROUPS][3];
    MemoryInPlace in_place[STEPS][2];
    MemoryProblem problem;
} RandomProblem;

// Buffer b is written at step b % STEPS and read at some later ones; buffers 0 to 8 are in the
// groups.
static void random_problem(RandomProblem *r, uint64_t seed) {
    uint64_t n = 0;
    memset(r, 0, sizeof *r);
    for (uint32_t b = 0; b < BUFFERS; b++) {
        int64_t units = 1 + (int64_t)(rng_u64(seed, n++) % 6);
        bool odd = rng_u64(seed, n++) % 3 == 0;
        r->buffers[b].bytes = odd ? units * 23 : units * 64;
        r->buffers[b].persistent = b >= 9 && rng_u64(seed, n++) % 8 == 0;
    }
    for (uint32_t s = 0; s < STEPS; s++) {
        MemoryStep *step = &r->steps[s];
        *step = (MemoryStep){
            .reads = r->lists[s][0], .writes = r->lists[s][1], .in_place = r->in_place[s]};
        for (uint32_t b = s; b < BUFFERS; b += STEPS)
            r->lists[s][1][step->write_count++] = b;
        for (uint32_t i = 0; s && i < 3; i++)
            r->lists[s][0][step->read_count++] = (uint32_t)(rng_u64(seed, n++) % s);
        for (uint32_t i = 0; s && i < 2; i++)
            r->in_place[s][step->in_place_count++] =
                (MemoryInPlace){r->lists[s][0][i], r->lists[s][1][0]};
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        for (uint32_t i = 0; i < 3; i++)
            r->members[g][i] = g * 3 + i;
        r->groups[g] = (MemoryGroup){r->members[g], 3};
    }
    r->problem = (MemoryProblem){r->buffers, BUFFERS, r->steps, STEPS, r->groups, GROUPS};
}

// The arena as the steps would leave it: which buffer wrote each byte last.
typedef struct {
    const MemoryProblem *m;
    const MemoryPlan *plan;
    uint32_t *owner;
    bool written[BUFFERS];
} Simulation;

static bool is_intact(const Simulation *sim, uint32_t b) {
    if (sim->m->buffers[b].persistent || !sim->written[b]) return true;
    for (int64_t i = 0; i < sim->m->buffers[b].bytes; i++)
        if (sim->owner[sim->plan->offset[b] + i] != b) return false;
    return true;
}

static bool has_heir(const MemoryStep *step, uint32_t b) {
    for (uint32_t i = 0; i < step->in_place_count; i++)
        if (step->in_place[i].from == b) return true;
    return false;
}

static bool step_simulate(Simulation *sim, const MemoryStep *step) {
    for (uint32_t i = 0; i < step->read_count; i++)
        if (!is_intact(sim, step->reads[i])) return false;
    for (uint32_t i = 0; i < step->write_count; i++) {
        uint32_t b = step->writes[i];
        sim->written[b] = true;
        if (sim->m->buffers[b].persistent) continue;
        for (int64_t k = 0; k < sim->m->buffers[b].bytes; k++)
            sim->owner[sim->plan->offset[b] + k] = b;
    }
    for (uint32_t i = 0; i < step->write_count; i++)
        if (!is_intact(sim, step->writes[i])) return false;
    for (uint32_t i = 0; i < step->read_count; i++)
        if (!has_heir(step, step->reads[i]) && !is_intact(sim, step->reads[i])) return false;
    return true;
}

static bool plan_simulate(const MemoryProblem *m, const MemoryPlan *plan, Arena *arena) {
    Simulation sim = {.m = m, .plan = plan, .owner = arena_array(arena, uint32_t, plan->bytes)};
    for (uint32_t s = 0; s < m->step_count; s++)
        if (!step_simulate(&sim, &m->steps[s])) return false;
    return true;
}

static void test_random_problems(void **state) {
    (void)state;
    Arena arena = {0};
    int64_t planned = 0, least = 0, apart = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        RandomProblem r;
        random_problem(&r, seed);
        MemoryPlan *plan = sound_plan(&r.problem, &arena),
                   *again = pass_memory(&r.problem, &arena);
        assert_memory_equal(plan->offset, again->offset, BUFFERS * sizeof *plan->offset);
        assert_true(plan_simulate(&r.problem, plan, &arena));
        planned += plan->bytes;
        least += plan->least;
        for (uint32_t b = 0; b < BUFFERS; b++)
            apart += r.buffers[b].persistent ? 0 : r.buffers[b].bytes;
    }
    // Groups and alignment cost something; sharing must still save much of what separate places
    // would take.
    assert_true(planned < least * 3 / 2);
    assert_true(planned < apart * 3 / 4);
    arena_release(&arena);
}

// A buffer moved onto another: whatever breaks when the steps run, the check must have seen.
static void test_planted_overlaps_are_found(void **state) {
    (void)state;
    Arena arena = {0};
    int found = 0, harmful = 0;
    for (uint64_t seed = 0; seed < 300; seed++) {
        RandomProblem r;
        random_problem(&r, seed);
        MemoryPlan *plan = sound_plan(&r.problem, &arena);
        uint32_t a = 9 + (uint32_t)(rng_u64(seed, 500) % (BUFFERS - 9));
        uint32_t b = (uint32_t)(rng_u64(seed, 501) % BUFFERS);
        if (r.buffers[a].persistent || r.buffers[b].persistent || a == b) continue;
        plan->offset[a] = plan->offset[b] / MEMORY_ALIGNMENT * MEMORY_ALIGNMENT;
        plan->bytes += 1024;  // room for the longer one
        bool broken = !plan_simulate(&r.problem, plan, &arena);
        bool seen = memory_violation(&r.problem, plan, &arena) != NULL;
        if (broken) assert_true(seen);
        found += seen;
        harmful += broken;
    }
    assert_true(harmful > 30 && found >= harmful);
    arena_release(&arena);
}

static void test_violations(void **state) {
    (void)state;
    Arena arena = {0};
    MemoryBuffer buffers[3] = {{100, false}, {100, false}, {100, true}};
    const MemoryStep steps[] = {{WRITES(0)}, {READS(0), WRITES(1)}, {READS(1), WRITES(2)}};
    MemoryProblem m = {.buffers = buffers, .buffer_count = 3, .steps = steps, .step_count = 3};
    MemoryPlan *plan = sound_plan(&m, &arena);
    plan->offset[2] = 0;
    assert_string_equal(memory_violation(&m, plan, &arena),
                        "buffer 2 is persistent and has a place");
    plan->offset[2] = MEMORY_NOWHERE;
    plan->offset[0] = 8;
    assert_string_equal(memory_violation(&m, plan, &arena), "buffer 0 is not aligned");
    plan->offset[0] = 192;
    assert_string_equal(memory_violation(&m, plan, &arena), "buffer 0 ends outside the arena");
    plan->offset[0] = MEMORY_NOWHERE;
    assert_string_equal(memory_violation(&m, plan, &arena), "buffer 0 has no place");
    plan->offset[0] = plan->offset[1];
    assert_string_equal(memory_violation(&m, plan, &arena),
                        "buffers 0 and 1 overlap while both live");
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_needs_two_buffers),
        cmocka_unit_test(test_chain_in_place_needs_one),
        cmocka_unit_test(test_no_place_of_what_is_read_later),
        cmocka_unit_test(test_one_heir),
        cmocka_unit_test(test_group_is_consecutive),
        cmocka_unit_test(test_tightest_hole),
        cmocka_unit_test(test_random_problems),
        cmocka_unit_test(test_planted_overlaps_are_found),
        cmocka_unit_test(test_violations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
