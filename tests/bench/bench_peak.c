// bench_peak.c: how long so many operations take at least, for a driver that alternates between
// programs; it speaks the protocol of bench_step.c.
//
//     bench_peak FLOPS THREADS
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tests/bench/fma.h"

static double step(Pool *pool, double flops) {
    double start = clock_seconds();
    fma_run(pool, flops);
    return clock_seconds() - start;
}

int main(int argc, char **argv) {
    double flops = argc == 3 ? strtod(argv[1], NULL) : 0;
    int64_t threads = 0;
    if (flops <= 0 || !str_to_int64(str_of(argv[2]), &threads) || threads < 1) {
        fputs("usage: bench_peak FLOPS THREADS\n", stderr);
        return 2;
    }
    Arena arena;
    Diag diag;
    Pool *pool = NULL;
    arena_init(&arena);
    diag_init(&diag, &arena);
    if (!pool_open(&diag, (uint32_t)threads, &pool)) {
        fputs("bench_peak: no threads\n", stderr);
        return 1;
    }
    step(pool, flops);
    puts("{\"peer\": \"peak\"}");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        printf("%.9f\n", step(pool, flops));
        fflush(stdout);
    }
    pool_close(pool);
    arena_release(&arena);
    return 0;
}
