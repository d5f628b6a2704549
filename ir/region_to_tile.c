// region_to_tile.c: picks the lowering for a region's kind.
#include "ir/region_to_tile.h"

#include "base/check.h"
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
                 .split_role = DIM_SERIAL,
                 .part_dim = -1,
                 .split_dim = -1};
    w->member = arena_array(arena, bool, n);
    w->memo = arena_array(arena, TileId *, n);
    for (uint32_t i = 0; i < region->value_count; i++)
        w->member[region->values[i].i] = true;
    static const TileSkeleton skeletons[] = {[REGION_ROW] = TILE_STREAM,
                                             [REGION_CONTRACT] = TILE_LOOP,
                                             [REGION_ATTEND] = TILE_ATTEND,
                                             [REGION_LINEAR] = TILE_CHUNK,
                                             [REGION_GROUPED] = TILE_LOOP,
                                             [REGION_ORDER] = TILE_STREAM};
    w->program = tile_new(arena, region->name, skeletons[region->kind]);
}

TileKernels *region_to_tile(const Regions *regions, const Region *region, const Schedule *s,
                            Arena *arena) {
    Lower w;
    lower_init(&w, regions, region, s, arena);
    switch (region->kind) {
    case REGION_ROW: return lower_row(&w);
    case REGION_CONTRACT: return lower_contract(&w);
    case REGION_ATTEND: return lower_attend(&w);
    case REGION_LINEAR: return lower_linear(&w);
    case REGION_GROUPED: return lower_grouped(&w);
    case REGION_ORDER: return lower_order(&w);
    }
    BUG("region kind %d", (int)region->kind);
}
