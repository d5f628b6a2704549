// turns.h: two programs measured in turns, each under the same conditions.
//
// A round is one turn of each; who is first changes from round to round. A turn begins when all
// other threads of the process sleep: OpenMP's threads and those of a pool spin for a while
// after their work, and whoever is next would wait for the cores that they hold. Calls that do
// not count follow, until the contender's own threads are awake and its operands close. Then
// calls are timed one by one; the turn's time is their median. The ratio of two contenders is
// the median over the rounds, so what slows the machine for longer than a round meets both.
// Rounds go on until it is known: its 95 % interval, of order statistics, is 2 % wide or lies
// on one side of the ratio that is asked about.
//
// With more than one thread, threads_place binds the calling thread to the first CPU and the
// others, of both contenders alike, to the rest: where the scheduler puts a woken thread on a
// busy machine is no property of either. Rounds in which the scheduler took a CPU from one of
// our threads do not count, as long as time is left.
#pragma once

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double (*seconds)(void *context);  // makes one call and returns how long it took
    void *context;
} Contender;

typedef struct {
    uint32_t threads;
    bool is_long;        // calls are so long that one a turn is enough
    double question;     // is the ratio at least that?
    double least, most;  // seconds for all rounds; a few are made in any case
} TurnOptions;

typedef struct {
    double median, low, high;  // low..high holds the true median with 95 % confidence
} Ratio;

typedef struct {
    double least[2];  // seconds of a call, the least median of a turn
    Ratio ratio;      // contender 1's time over contender 0's
} Outcome;

// Each contender has `each` threads besides the calling one. Again for threads made later.
void threads_place(const cpu_set_t *cpus, uint32_t each);
Outcome turns_measure(const Contender contenders[2], const TurnOptions *options);
