// region_to_tile.c: picks the lowering for a region's kind.
#include "ir/region_to_tile.h"

#include "base/check.h"
#include "ir/tile/lower.h"

void lower_init(Lower *w, const Lower *of) {
    const Region *region = of->region;
    uint32_t n = of->regions->graph->values.len;
    *w = (Lower){.regions = of->regions,
                 .graph = of->regions->graph,
                 .region = region,
                 .schedule = of->schedule,
                 .arena = of->arena,
                 .scratch = of->scratch,
                 .parts = 1,
                 .split_role = DIM_SERIAL,
                 .part_dim = -1,
                 .split_dim = -1};
    w->member = arena_array(w->scratch, bool, n);
    w->memo = arena_array(w->scratch, TileId *, n);
    for (uint32_t i = 0; i < region->value_count; i++)
        w->member[region->values[i].i] = true;
    static const TileSkeleton skeletons[] = {
        [REGION_ROW] = TILE_STREAM,    [REGION_CONTRACT] = TILE_LOOP,
        [REGION_ATTEND] = TILE_ATTEND, [REGION_LINEAR] = TILE_CHUNK,
        [REGION_GROUPED] = TILE_LOOP,  [REGION_ORDER] = TILE_STREAM};
    w->program = tile_new(w->arena, region->name, skeletons[region->kind]);
}

static TileKernels *lower(Lower *w) {
    switch (w->region->kind) {
    case REGION_ROW: return lower_row(w);
    case REGION_CONTRACT: return lower_contract(w);
    case REGION_ATTEND: return lower_attend(w);
    case REGION_LINEAR: return lower_linear(w);
    case REGION_GROUPED: return lower_grouped(w);
    case REGION_ORDER: return lower_order(w);
    }
    BUG("region kind %d", (int)w->region->kind);
}

// What has an element for each value of the graph is scratch: a graph has thousands of regions.
TileKernels *region_to_tile(const Regions *regions, const Region *region, const Schedule *s,
                            Arena *arena) {
    Arena scratch;
    arena_init(&scratch);
    const Lower of = {.regions = regions,
                      .region = region,
                      .schedule = s,
                      .arena = arena,
                      .scratch = &scratch};
    Lower w;
    lower_init(&w, &of);
    TileKernels *kernels = lower(&w);
    arena_release(&scratch);
    return kernels;
}
