// region_to_tile.c: picks the lowering for a region's kind.
#include "ir/region_to_tile.h"

#include "ir/tile/lower.h"

void lower_init(Lower *w, const Regions *regions, const Region *region, const Schedule *s,
                Arena *arena) {
    uint32_t n = regions->graph->values.len;
    *w = (Lower){.regions = regions,
                 .graph = regions->graph,
                 .region = region,
                 .schedule = s,
                 .arena = arena,
                 .parts = 1,
                 .part_dim = -1,
                 .split_dim = -1};
    w->member = arena_array(arena, bool, n);
    w->memo = arena_array(arena, TileId *, n);
    for (uint32_t i = 0; i < region->value_count; i++)
        w->member[region->values[i].i] = true;
    w->program =
        tile_new(arena, region->name, region->kind == REGION_ROW ? TILE_STREAM : TILE_LOOP);
}

TileKernels *region_to_tile(const Regions *regions, const Region *region, const Schedule *s,
                            Arena *arena) {
    Lower w;
    lower_init(&w, regions, region, s, arena);
    return region->kind == REGION_ROW ? lower_row(&w) : lower_contract(&w);
}
