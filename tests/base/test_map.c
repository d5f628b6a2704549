// test_map.c: the map against what it must remember.
#include "base/map.h"
#include "tests/test.h"

static void empty_maps_have_nothing(void **state) {
    (void)state;
    Map map = {0};
    assert_false(map_get(&map, STR("x"), NULL));
}

static void keys_are_found_again(void **state) {
    (void)state;
    const uint64_t n = 50000;
    Arena arena = {0};
    Map map = {0};
    for (uint64_t i = 0; i < n; i++)
        map_set(&arena, &map, str_printf(&arena, "layers.%d.w", (int)i), i);
    assert_int_equal(map.count, n);
    for (uint64_t i = 0; i < 2 * n; i++) {
        uint64_t value = 0;
        bool found = map_get(&map, str_printf(&arena, "layers.%d.w", (int)i), &value);
        assert_int_equal(found, i < n);
        if (found) assert_int_equal(value, i);
    }
    arena_release(&arena);
}

static void a_second_set_replaces(void **state) {
    (void)state;
    Arena arena = {0};
    Map map = {0};
    map_set(&arena, &map, STR(""), 1);
    map_set(&arena, &map, (Str){"a\0b", 3}, 2);
    map_set(&arena, &map, (Str){"a\0c", 3}, 3);
    map_set(&arena, &map, STR(""), 4);
    assert_int_equal(map.count, 3);
    uint64_t value = 0;
    assert_true(map_get(&map, STR(""), &value) && value == 4);
    assert_true(map_get(&map, (Str){"a\0b", 3}, &value) && value == 2);
    assert_false(map_get(&map, STR("a"), NULL));
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_maps_have_nothing),
        cmocka_unit_test(keys_are_found_again),
        cmocka_unit_test(a_second_set_replaces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
