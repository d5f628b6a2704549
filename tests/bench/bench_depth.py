"""bench_depth.py --build DIR [--peers VENV]: what attention over depth adds to a model; prints Markdown.

Training steps, forward passes, chunks of a prompt and single tokens of attnres_block (blocks of 4 sublayers, 16 sublayers) beside
those of prenorm of equal size; the same of PyTorch, compiled, where it is installed.

An opening starts both programs anew, because where its memory comes to lie changes a program's time by one or two
hundredths for as long as it runs. In an opening they take turns, a step each (tokens: several), first one first and then
the other. A program's time is the sum of the medians of its kernels' times, so that an interruption, which falls on some
kernel of a step, does not count. The result is the median of the openings' ratios, and its 95 % interval is from their ranks.
There are OPENINGS openings, and more until the interval is within NARROW of the median or LIMIT seconds have passed.

The tuning database is one that nothing was tuned in, so equal contractions of both models have equal schedules.
"""
import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from contest import Contestant, hold, median_interval, ratio_interval

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ("prenorm", "attnres_block")
AIMS = {"train": 1.04, "infer": 1.02, "prefill": 1.02, "decode": 1.02}
WORDS = {"train": "training step", "infer": "forward", "prefill": "128 tokens of a prompt, one row", "decode": "one token, one row"}
MODES = {"train": "train", "infer": "train", "prefill": "infer", "decode": "infer"}  # of the artifact
# Of a turn: measured steps, and steps before them. It takes some tokens until threads are awake and what the caches can hold
# of the weights is there again.
TURNS = {"train": (1, 0), "infer": (1, 0), "prefill": (2, 1), "decode": (8, 8)}
OPENINGS, NARROW, LIMIT = 6, 0.015, 100
ROUNDS = 3  # of an opening, at least, and more for so many seconds; starting decides most about a token
SECONDS = {"train": 8, "infer": 8, "prefill": 4, "decode": 2}

# width: heads, hidden width of feed-forward layers, batch. As tests/peers/cases.py.
SIZES = {512: (8, 1408, 4), 1024: (16, 2816, 2)}
CONTEXT, LAYERS, VOCABULARY = 256, 8, 512


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with strata")
    parser.add_argument("--peers", type=Path, help="Python environment made by tests/peers/setup.sh")
    parser.add_argument("--models", default=",".join(MODELS), help="two; of one name twice the ratio should be 1")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--widths", default=",".join(str(d) for d in SIZES))
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--entries", default=",".join(AIMS))
    return parser.parse_args()


def artifact(options, model, width, dtype, mode):
    heads, ff, batch = SIZES[width]
    out = options.build / f"bench_depth_{model}_{width}_{dtype}_{mode}.sta"
    batch = batch if mode == "train" else 1
    settings = {"d": width, "h": heads, "ff": ff, "layers": LAYERS, "vocab": VOCABULARY}
    line = [options.build / "strata", "compile", ROOT / f"models/{model}.strata", "-q", "--target", "cpu", "--dtype",
            dtype, "--threads", options.threads, "--batch", batch, "--context", CONTEXT, "--mode", mode, "-o", out,
            "--db", options.build / "bench_depth.db"]
    line += [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
    done = subprocess.run([str(x) for x in line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"strata compile {model}: {done.stderr.strip()}", file=sys.stderr)
    return out


def pair(options, artifacts, entry):
    program = str(options.build / "tests/bench_step")
    return [Contestant(made.stem, [program, str(made), entry, str(options.threads), "each"])
            for made in artifacts]


def torch_pair(options, width):
    worker = str(ROOT / "tests/peers/worker.py")
    return [Contestant(model, [str(options.peers / "bin/python"), worker, "torch-compile", f"{model}:{width}",
                               str(options.threads)]) for model in MODELS]


def row(label, seconds, interval, note, aim):
    """seconds: of both programs."""
    median, low, high = interval
    times = [f"{1e3 * s:.{1 if s > 0.1 else 2}f}" for s in seconds]
    return f"| {label} | {times[0]} | {times[1]} | {median:.3f} | {low:.3f} to {high:.3f} | {note} | {aim} |"


def failed_row(label, contestants):
    return f"| {label} | not measured: {next(c.failure for c in contestants if c.failure)} | | | | | |"


def is_narrow(median, low, high):
    return median - low <= NARROW and high - median <= NARROW


def strata_row(options, label, artifacts, entry):
    sums, ratios, end = [], [], time.monotonic() + LIMIT
    while len(ratios) < OPENINGS or (time.monotonic() < end and not is_narrow(*median_interval(ratios))):
        contestants = pair(options, artifacts, entry)
        hold(contestants, ROUNDS, *TURNS[entry], SECONDS[entry])
        if any(c.failure for c in contestants):
            return failed_row(label, contestants)
        sums.append([c.kernel_sum() for c in contestants])
        ratios.append(sums[-1][1] / sums[-1][0])
    seconds = [statistics.median(s[k] for s in sums) for k in range(2)]
    note = f"{min(ratios):.3f} to {max(ratios):.3f}, {len(ratios)}"
    return row(label, seconds, median_interval(ratios), note, AIMS[entry])


def torch_row(options, label, width):
    contestants = torch_pair(options, width)
    hold(contestants, 2 * ROUNDS, 1)
    if any(c.failure for c in contestants):
        return failed_row(label, contestants)
    seconds = [statistics.median(c.samples()) for c in contestants]
    return row(label, seconds, ratio_interval(contestants[1], contestants[0]), "1 opening", "")


def main():
    options = arguments()
    # Everybody gets the same cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    artifacts, models = {}, options.models.split(",")
    print(f"\n| | {models[0]}, ms | {models[1]}, ms | ratio | 95 % interval | openings | aim |\n|---|---|---|---|---|---|---|")
    for width in (int(x) for x in options.widths.split(",")):
        for dtype in options.dtypes.split(","):
            for entry in options.entries.split(","):
                label, mode = f"{WORDS[entry]}, d {width}, {dtype}", MODES[entry]
                if (width, dtype, mode) not in artifacts:
                    artifacts[width, dtype, mode] = [artifact(options, model, width, dtype, mode) for model in models]
                print(f"bench_depth: {label}", file=sys.stderr)
                print(strata_row(options, label, artifacts[width, dtype, mode], entry), flush=True)
        if options.peers and "train" in options.entries:
            label = f"PyTorch, torch.compile: training step, d {width}, f32"
            print(torch_row(options, label, width), flush=True)
    tokens = ", ".join(f"{SIZES[d][2] * CONTEXT} at d {d}" for d in SIZES)
    print(f"\n{2 * LAYERS} sublayers, blocks of 4; T {CONTEXT}, tokens a step {tokens}; {options.threads} threads, nothing tuned. "
          f"The ratio is the median over openings of both programs, each with the sum of the medians of its kernels; "
          f"at least {OPENINGS} openings, and more until the interval is within {NARROW} of the median or {LIMIT} s have passed.")


if __name__ == "__main__":
    main()
