// The cheapest cut against all cuts of small random networks, and on shapes that a naive search
// gets wrong or slow.
#include "base/rng.h"
#include "ir/graph/min_cut.h"
#include "tests/test.h"

typedef struct {
    uint32_t from, to;
    int64_t cost;
} Edge;

enum { NODES = 8, EDGES = 16, SOURCE = 0, SINK = 1 };

static int64_t cost_of(const Edge *edges, uint32_t count, uint32_t sink_side) {
    int64_t cost = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool cut = !(sink_side >> edges[i].from & 1) && (sink_side >> edges[i].to & 1);
        if (cut) cost += edges[i].cost;
    }
    return cost;
}

static int64_t cheapest(const Edge *edges, uint32_t count) {
    int64_t best = INT64_MAX;
    for (uint32_t side = 0; side < 1u << NODES; side++) {
        if (side >> SOURCE & 1 || !(side >> SINK & 1)) continue;
        int64_t cost = cost_of(edges, count, side);
        if (cost < best) best = cost;
    }
    return best;
}

static void test_random_networks(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        Arena arena = {0};
        Edge edges[EDGES];
        CutNet net;
        cut_init(&net, &arena, NODES);
        for (uint32_t i = 0; i < EDGES; i++) {
            uint64_t bits = rng_u64(seed, i);
            edges[i] = (Edge){bits % NODES, bits / NODES % NODES, (int64_t)(bits >> 32) % 6};
            cut_edge(&net, edges[i].from, edges[i].to, edges[i].cost);
        }
        const bool *side = cut_sink_side(&net, SOURCE, SINK);
        uint32_t mask = 0;
        for (uint32_t i = 0; i < NODES; i++)
            mask |= (uint32_t)side[i] << i;
        assert_false(side[SOURCE]);
        assert_true(side[SINK]);
        assert_int_equal(cost_of(edges, EDGES, mask), cheapest(edges, EDGES));
        arena_release(&arena);
    }
}

// Both edges cost the same: the one at the sink is cut.
static void test_nearest_to_the_sink(void **state) {
    (void)state;
    Arena arena = {0};
    CutNet net;
    cut_init(&net, &arena, 3);
    cut_edge(&net, 0, 2, 5);
    cut_edge(&net, 2, 1, 5);
    assert_false(cut_sink_side(&net, 0, 1)[2]);
    arena_release(&arena);
}

// Deeper than any stack of calls.
static void test_long_chain(void **state) {
    (void)state;
    enum { LENGTH = 200000 };
    Arena arena = {0};
    CutNet net;
    cut_init(&net, &arena, LENGTH + 2);
    for (uint32_t i = 2; i <= LENGTH; i++)
        cut_edge(&net, i, i + 1, i == 1000 ? 1 : CUT_NEVER);
    cut_edge(&net, 0, 2, CUT_NEVER);
    cut_edge(&net, LENGTH + 1, 1, CUT_NEVER);
    const bool *side = cut_sink_side(&net, 0, 1);
    assert_false(side[1000]);
    assert_true(side[1001]);
    arena_release(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_networks),
        cmocka_unit_test(test_nearest_to_the_sink),
        cmocka_unit_test(test_long_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
