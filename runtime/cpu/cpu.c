// cpu.c: what this machine's CPU offers.
#include "runtime/cpu/cpu.h"

#include <sched.h>
#include <unistd.h>

uint32_t cpu_count(void) {
    cpu_set_t set;
    // The call fails on machines with more CPUs than cpu_set_t holds.
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

Str cpu_features(void) {
#if defined(__x86_64__) && defined(__GNUC__)
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bool bf16 = __builtin_cpu_supports("avx512bf16");
    if (avx2 && avx512 && bf16) return STR("avx512bf16");
    if (avx2 && avx512) return STR("avx512");
    if (avx2) return STR("avx2");
#endif
    return STR("sse2");
}

int cpu_features_rank(Str name) {
    if (str_eq(name, STR("sse2"))) return 0;
    if (str_eq(name, STR("avx2"))) return 1;
    if (str_eq(name, STR("avx512"))) return 2;
    if (str_eq(name, STR("avx512bf16"))) return 3;
    return -1;
}
