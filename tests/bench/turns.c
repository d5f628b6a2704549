// turns.c: threads and their states are read from /proc/self/task.
#include "tests/bench/turns.h"

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

enum { THREADS_MOST = 256, ROUNDS_MOST = 400, ROUNDS_LEAST = 9, CALLS_MOST = 64 };

static const double awake_seconds = 0.001, turn_seconds = 0.0005;

// ---- threads

static int by_number(const void *x, const void *y) {
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;
    return (a > b) - (a < b);
}

// Of this process but the first, in the order of their making.
static int other_threads(int64_t ids[THREADS_MOST]) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) return 0;
    for (struct dirent *entry; count < THREADS_MOST && (entry = readdir(tasks)) != NULL;) {
        int64_t id;
        if (str_to_int64(str_of(entry->d_name), &id) && id != (int64_t)getpid())
            ids[count++] = id;
    }
    closedir(tasks);
    qsort(ids, (size_t)count, sizeof *ids, by_number);
    return count;
}

static bool is_running(int64_t id) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/task/%lld/stat", (long long)id);
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = 0;
    const char *state = strrchr(line, ')');
    return state != NULL && n - (size_t)(state - line) > 2 && state[2] == 'R';
}

static void settle(void) {
    enum { LOOK_NS = 1000000, LOOKS_MOST = 200 };
    struct timespec look = {.tv_nsec = LOOK_NS};
    int64_t ids[THREADS_MOST];
    bool spins = true;
    for (int i = 0; spins && i < LOOKS_MOST; i++) {
        nanosleep(&look, NULL);
        int count = other_threads(ids);
        spins = false;
        while (!spins && count > 0)
            spins = is_running(ids[--count]);
    }
}

static void thread_bind(int64_t id, int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    // Where this is not allowed the scheduler decides.
    (void)sched_setaffinity((pid_t)id, sizeof set, &set);
}

void threads_place(const cpu_set_t *cpus, uint32_t each) {
    int64_t ids[THREADS_MOST];
    int count = other_threads(ids), numbers[THREADS_MOST], usable = 0;
    for (int i = 0; i < CPU_SETSIZE && usable < THREADS_MOST; i++)
        if (CPU_ISSET((size_t)i, cpus)) numbers[usable++] = i;
    if (each == 0 || usable <= (int)each) return;
    thread_bind(0, numbers[0]);
    for (int i = 0; i < count; i++)
        thread_bind(ids[i], numbers[1 + i % (int)each]);
}

// How often the scheduler took a CPU from a thread of this process.
static long preemptions(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

// ---- turns

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median_of(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

typedef struct {
    double median;
    bool disturbed;
} Turn;

static Turn turn_take(const Contender *c, const TurnOptions *options) {
    double calls[CALLS_MOST];
    bool several = options->threads > 1, warm = several || !options->is_long;
    int count = 0;
    if (several) settle();
    double awake = clock_seconds() + (several ? awake_seconds : 0);
    while (warm) {
        c->seconds(c->context);
        warm = clock_seconds() < awake;
    }
    long before = preemptions();
    double end = clock_seconds() + turn_seconds;
    do
        calls[count++] = c->seconds(c->context);
    while (count < CALLS_MOST && clock_seconds() < end);
    bool disturbed = preemptions() != before;
    return (Turn){median_of(calls, count), disturbed};
}

// Sorts them. Fewer than seven are all needed to hold the median.
static Ratio ratio_of(double *ratios, int count) {
    int half = (int)ceil(0.98 * sqrt(count)), low = (count - 1) / 2 - half;
    if (low < 0) low = 0;
    qsort(ratios, (size_t)count, sizeof *ratios, by_size);
    return (Ratio){(ratios[(count - 1) / 2] + ratios[count / 2]) / 2, ratios[low],
                   ratios[count - 1 - low]};
}

static bool is_known(const Ratio *r, double question) {
    static const double close = 1.02;
    return r->low >= question || r->high < question || r->high <= r->low * close;
}

Outcome turns_measure(const Contender contenders[2], const TurnOptions *options) {
    double ratios[ROUNDS_MOST], start = clock_seconds(), spent = 0;
    Outcome out = {.least = {HUGE_VAL, HUGE_VAL}};
    int count = 0;
    for (int i = 0; count < ROUNDS_MOST; i++) {
        bool enough = count >= ROUNDS_LEAST && spent > options->least;
        if (enough) out.ratio = ratio_of(ratios, count);
        if (enough && (spent > options->most || is_known(&out.ratio, options->question))) break;
        Turn turns[2];
        turns[i % 2] = turn_take(&contenders[i % 2], options);
        turns[1 - i % 2] = turn_take(&contenders[1 - i % 2], options);
        for (int k = 0; k < 2; k++)
            out.least[k] = fmin(out.least[k], turns[k].median);
        bool disturbed = turns[0].disturbed || turns[1].disturbed;
        spent = clock_seconds() - start;
        if (disturbed && spent < options->most) continue;
        ratios[count++] = turns[1].median / turns[0].median;
    }
    out.ratio = ratio_of(ratios, count);
    return out;
}
