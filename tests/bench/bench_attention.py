"""bench_attention.py --build DIR [--peers VENV]: causal attention alone beside PyTorch's, in turns; prints Markdown.

Short to long sequences, forward and with the backward pass to every operand, f32. Both sides are warmed up first.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

from contest import Contestant, hold, median_interval, ratio_interval

ROOT = Path(__file__).resolve().parent.parent.parent
HEADS = 8
ENTRIES = {"forward": "infer", "both": "grad"}
# T: rounds, measured and unmeasured steps a turn. Long steps say enough by themselves.
LENGTHS = {512: (8, 4, 1), 2048: (6, 1, 1), 8192: (3, 1, 0)}
TOO_LONG = 8192 * 128  # both passes of that take seconds: one round less


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with strata")
    parser.add_argument("--peers", type=Path, help="Python environment made by tests/peers/setup.sh")
    parser.add_argument("--db", type=Path, help="tuning database")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--lengths", default=",".join(str(t) for t in LENGTHS))
    parser.add_argument("--widths", default="64,128")
    parser.add_argument("--passes", default=",".join(ENTRIES))
    return parser.parse_args()


def artifact(options, length, width):
    out = options.build / f"bench_attention_{length}_{width}.sta"
    line = [options.build / "strata", "compile", ROOT / "tests/bench/attention.strata", "-q", "--target", "cpu",
            "--dtype", "f32", "--threads", options.threads, "--mode", "train", "-o", out]
    settings = {"b": 1, "h": HEADS, "t": length, "dk": width}
    line += [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
    line += ["--db", options.db] if options.db else []
    done = subprocess.run([str(x) for x in line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"strata compile: {done.stderr.strip()}", file=sys.stderr)
    return out


def contestants_of(options, name, length, width, made):
    threads = str(options.threads)
    ours = Contestant("strata", [str(options.build / "tests/bench_step"), str(made), ENTRIES[name], threads])
    if not options.peers:
        return [ours]
    worker, case = str(ROOT / "tests/peers/worker.py"), f"attention_{name}:{length}:{width}"
    return [ours, Contestant("torch", [str(options.peers / "bin/python"), worker, "torch", case, threads])]


def row(label, contestants):
    failure = next((c.failure for c in contestants if c.failure), None)
    if failure:
        return f"| {label} | not measured: {failure} | | | |"
    times = [f"{1e3 * median_interval(c.samples())[0]:.2f}" for c in contestants]
    if len(times) == 1:
        return f"| {label} | {times[0]} | | | |"
    median, low, high = ratio_interval(contestants[1], contestants[0])
    return f"| {label} | {times[0]} | {times[1]} | {median:.2f} | {low:.2f} to {high:.2f} |"


def main():
    options = arguments()
    # Everybody gets the same cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    print(f"\n{HEADS} heads, causal, {options.threads} threads.\n")
    print("| T, dk | Strata, ms | PyTorch, ms | times Strata's | interval |\n|---|---|---|---|---|")
    for length in map(int, options.lengths.split(",")):
        rounds, steps, unmeasured = LENGTHS[length]
        for width in map(int, options.widths.split(",")):
            made = artifact(options, length, width)
            for name in options.passes.split(","):
                less = name == "both" and length * width >= TOO_LONG
                contestants = contestants_of(options, name, length, width, made)
                hold(contestants, rounds - less, steps, unmeasured)
                print(row(f"{length}, {width}, {name}", contestants), flush=True)


if __name__ == "__main__":
    main()
