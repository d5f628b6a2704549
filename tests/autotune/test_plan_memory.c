// test_plan_memory.c: where buffers lie in the arena of a plan.
#include "autotune/plan_memory.h"
#include "tests/test.h"

enum { BUFFERS = 24, WAY = 4096 };  // bytes between lines of the same set of a close cache

// All of them live at once.
static void place(Draft *d, int64_t bytes) {
    arena_init(d->arena);
    uint32_t *args = arena_array(d->arena, uint32_t, BUFFERS);
    DraftStep step = {.kind = STEP_CLEAR, .args = args, .arg_count = BUFFERS};
    for (uint32_t i = 0; i < BUFFERS; i++) {
        args[i] = i;
        vec_push(d->arena, &d->memory, (Memory){.kind = BUFFER_ARENA, .bytes = bytes});
    }
    vec_push(d->arena, &d->steps, step);
    draft_place(d);
}

// Buffers i and k that begin in the same set.
static int sets_shared(const Draft *d) {
    int shared = 0;
    for (uint32_t i = 0; i < BUFFERS; i++)
        for (uint32_t k = 0; k < i; k++)
            shared += d->memory.ptr[i].offset % WAY == d->memory.ptr[k].offset % WAY;
    return shared;
}

static void test_large_buffers_begin_in_different_sets(void **state) {
    (void)state;
    Arena arena = {0};
    Draft large = {.arena = &arena}, small = {.arena = &arena};
    place(&large, 256 << 10);
    assert_int_equal(sets_shared(&large), 0);
    arena_release(&arena);
    place(&small, 4096);
    assert_int_equal(small.arena_bytes, BUFFERS * 4096);
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_buffers_begin_in_different_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
