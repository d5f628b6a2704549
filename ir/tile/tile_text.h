// tile_text.h: words shared by the printer and the reader of tile programs.
#pragma once

#include "ir/tile/tile.h"

const char *tile_role_text(TileRole role);  // "grid", "serial", "col", "m", "n", "k"
const char *tile_skeleton_text(TileSkeleton skeleton);  // "stream", "loop", "attend", "chunk"
const char *tile_way_text(TileWay way);  // "upto", "before", "after", "from", "all"

// What the text form leaves out: the tile of a dimension, and the modulus of a guard that wraps
// nothing.
int64_t tile_usual_tile(TileRole role, int64_t extent);
int64_t tile_usual_mod(int64_t extent, int64_t div);
