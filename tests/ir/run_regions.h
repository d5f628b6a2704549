// run_regions.h: runs a graph the way a compiled plan does (regions, tile programs, memory by
// value), but with the tile interpreter, and compares every output with the reference
// evaluator.
#pragma once

#include "ir/region_to_tile.h"

// Fails the running cmocka test unless every output and update agrees to `tolerance` relative
// to the largest element. Parameters and float inputs are drawn at random; integer inputs below
// their axis' extent.
void run_regions_check(const Graph *g, const Schedule *schedule, double tolerance);
