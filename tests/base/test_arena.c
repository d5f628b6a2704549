// test_arena.c: arenas, vectors and the two ways of giving up.
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/vec.h"
#include "tests/test.h"

static void objects_are_zero_aligned_and_apart(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena);
    unsigned char *last = NULL;
    for (size_t n = 0; n < 3000; n += 7) {
        unsigned char *p = arena_alloc(&arena, n, 1);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_ptr_not_equal(p, last);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xaa, n);
        last = p;
    }
    arena_release(&arena);
    assert_null(arena.block);
    assert_int_equal(arena.total, 0);
}

static void rewind_gives_memory_back_zeroed(void **state) {
    (void)state;
    Arena arena = {0};
    int *kept = arena_new(&arena, int);
    *kept = 42;
    ArenaMark mark = arena_mark(&arena);
    for (int round = 0; round < 3; round++) {
        char *big = arena_array(&arena, char, 5 << 20);
        assert_int_equal(big[5 << 19], 0);
        memset(big, 1, 5 << 20);
        int *small = arena_array(&arena, int, 100);
        for (int i = 0; i < 100; i++)
            assert_int_equal(small[i], 0);
        memset(small, 1, 400);
        arena_rewind(&arena, mark);
        assert_int_equal(arena.total, sizeof(int));
    }
    assert_int_equal(*kept, 42);
    arena_release(&arena);
}

static void text_is_copied_and_formatted(void **state) {
    (void)state;
    Arena arena = {0};
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&arena, NULL, 0), "");
    assert_string_equal(arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    arena_release(&arena);
}

static void vectors_grow(void **state) {
    (void)state;
    Arena arena = {0};
    Vec(int) v = {0};
    for (int i = 0; i < 1000; i++)
        vec_push(&arena, &v, i * i);
    assert_int_equal(v.len, 1000);
    int expected = 0;
    vec_each (int, it, &v) {
        assert_int_equal(*it, expected * expected);
        expected++;
    }
    assert_int_equal(expected, 1000);
    arena_release(&arena);
}

// Runs `die` in a child and gives its exit status; what it says on stderr goes to `text`.
static int status_of(void (*die)(void), char *text, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        die();
        _exit(0);
    }
    close(ends[1]);
    size_t n = 0;
    ssize_t got;
    while ((got = read(ends[0], text + n, size - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    close(ends[0]);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void overflow(void) {
    Arena arena = {0};
    arena_alloc(&arena, SIZE_MAX / 2, 16);
}

static void bug(void) { BUG("shape %d", 3); }

static void assertion(void) { ASSERT(1 + 1 == 3); }

static void giving_up_has_a_status_and_a_reason(void **state) {
    (void)state;
    char text[512];
    assert_int_equal(status_of(bug, text, sizeof text), 4);
    assert_non_null(strstr(text, "strata: bug at "));
    assert_non_null(strstr(text, ": shape 3\n"));
    assert_int_equal(status_of(assertion, text, sizeof text), 4);
    assert_non_null(strstr(text, "1 + 1 == 3"));
    assert_int_equal(status_of(overflow, text, sizeof text), 3);
    assert_non_null(strstr(text, "out of memory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zero_aligned_and_apart),
        cmocka_unit_test(rewind_gives_memory_back_zeroed),
        cmocka_unit_test(text_is_copied_and_formatted),
        cmocka_unit_test(vectors_grow),
        cmocka_unit_test(giving_up_has_a_status_and_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
