"""Programs that take turns: each runs as a child that does one step a line of input (see tests/peers/worker.py)."""
import contextlib
import json
import math
import statistics
import subprocess
import tempfile
import time

UNMEASURED = 1  # steps at the start of a turn: they fetch back what the others drove out of the caches
SETTLE = 0.002  # seconds before a turn: the threads of a pool (runtime/cpu/pool.c) spin for up to half of it after their work


class Contestant:
    """`failure` says why it gives no more times; None while it does."""

    def __init__(self, name, command):
        self.name, self.failure, self.version, self.rounds, self.warm = name, None, "", [], False
        self.kernels, self.kernel_rounds = [], []  # seconds of each kernel, where the program says them
        # Messages go to a file: a pipe that nobody reads would fill and stop the child.
        self.messages = tempfile.TemporaryFile("w+")
        try:
            self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=self.messages, text=True)
        except OSError as error:
            self.child, self.failure = None, str(error)

    def wait_until_warm(self):
        if self.warm:
            return
        self.warm = True
        line = self.answer()
        self.version = json.loads(line).get("version", "") if line else ""

    def answer(self):
        line = "" if self.failure else self.child.stdout.readline()
        if not line and not self.failure:
            status = self.child.wait()
            self.messages.seek(0)
            said = self.messages.read().strip().splitlines()
            self.failure = said[-1] if said else f"ended with status {status}"
        return line

    def step(self):
        """Seconds; None after a failure."""
        if self.failure:
            return None
        with contextlib.suppress(BrokenPipeError):  # answer() finds out why
            self.child.stdin.write("step\n")
            self.child.stdin.flush()
        line = self.answer()
        if not line:
            return None
        seconds, *self.kernels = (float(word) for word in line.split())
        return seconds

    def turn(self, steps, unmeasured):
        times, kernels = [], []
        for _ in range(unmeasured + steps):
            times.append(self.step())
            kernels.append(self.kernels)
        if None not in times:
            self.rounds.append(times[unmeasured:])
            self.kernel_rounds += kernels[unmeasured:]

    def close(self):
        if self.child:
            with contextlib.suppress(BrokenPipeError):
                self.child.stdin.close()
            self.child.stdout.close()
            self.child.wait()
        self.messages.close()

    def samples(self):
        return [seconds for times in self.rounds for seconds in times]

    def kernel_sum(self):
        """Seconds of a step in which every kernel takes its median: an interruption falls on one kernel of one step."""
        return sum(statistics.median(times) for times in zip(*self.kernel_rounds))


def median_interval(samples):
    """(median, low, high): from the samples' ranks, an interval that holds the true median with at least 95 %
    confidence; of fewer than six samples none does, and it is their range."""
    ordered, n = sorted(samples), len(samples)
    rank, below = 0, 2.0**-n  # below: the chance that at most `rank` samples lie below the true median
    while below + math.comb(n, rank + 1) * 2.0**-n <= 0.025:
        rank += 1
        below += math.comb(n, rank) * 2.0**-n
    return statistics.median(ordered), ordered[rank], ordered[n - 1 - rank]


def ratio_interval(contestant, base):
    """How many times longer the contestant takes: of each round the ratio of medians, of these the median."""
    ratios = [statistics.median(a) / statistics.median(b)
              for a, b in zip(contestant.rounds, base.rounds)]
    return median_interval(ratios)


def hold(contestants, rounds, steps, unmeasured=UNMEASURED, seconds=0):
    """Everybody's turn comes once a round; who is first changes from round to round. At least `rounds` rounds, and more
    until `seconds` have passed."""
    for contestant in contestants:
        contestant.wait_until_warm()
    number, end = 0, time.monotonic() + seconds
    alive = contestants
    while number < rounds or time.monotonic() < end:
        alive = [c for c in alive if not c.failure]
        if not alive:
            break
        first = number % len(alive)
        for contestant in alive[first:] + alive[:first]:
            time.sleep(SETTLE)
            contestant.turn(steps, unmeasured)
        number += 1
    for contestant in contestants:
        contestant.close()
