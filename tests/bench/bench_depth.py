"""bench_depth.py --build DIR [--peers VENV]: what attention over depth adds to a model; prints Markdown.

Training steps, forward passes, chunks of a prompt and single tokens of attnres_block (blocks of 4 sublayers, 16 sublayers) beside
those of prenorm of equal size, in turns; the same of PyTorch, compiled, where it is installed.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

from contest import Contestant, hold, median_interval, ratio_interval

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = ("prenorm", "attnres_block")
AIMS = {"train": 1.04, "infer": 1.02, "prefill": 1.02, "decode": 1.02}
WORDS = {"train": "training step", "infer": "forward", "prefill": "128 tokens of a prompt, one row", "decode": "one token, one row"}
MODES = {"train": "train", "infer": "train", "prefill": "infer", "decode": "infer"}  # of the artifact
SHORT = 20  # times as many steps of what takes milliseconds

# width: heads, hidden width of feed-forward layers, batch. As tests/peers/cases.py.
SIZES = {512: (8, 1408, 4), 1024: (16, 2816, 2)}
CONTEXT, LAYERS, VOCABULARY = 256, 8, 512


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with strata")
    parser.add_argument("--peers", type=Path, help="Python environment made by tests/peers/setup.sh")
    parser.add_argument("--db", type=Path, help="tuning database")
    parser.add_argument("--rounds", type=int, default=6)
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
            dtype, "--threads", options.threads, "--batch", batch, "--context", CONTEXT, "--mode", mode, "-o", out]
    line += [x for name, value in settings.items() for x in ("--set", f"{name}={value}")]
    line += ["--db", options.db] if options.db else []
    done = subprocess.run([str(x) for x in line], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"strata compile {model}: {done.stderr.strip()}", file=sys.stderr)
    return out


def pair(options, artifacts, entry):
    program = str(options.build / "tests/bench_step")
    return [Contestant(model, [program, str(made), entry, str(options.threads)])
            for model, made in zip(MODELS, artifacts)]


def torch_pair(options, width):
    worker = str(ROOT / "tests/peers/worker.py")
    return [Contestant(model, [str(options.peers / "bin/python"), worker, "torch-compile", f"{model}:{width}",
                               str(options.threads)]) for model in MODELS]


def row(label, contestants, rounds, aim, steps=1):
    hold(contestants, rounds, steps)
    base, other = contestants
    failure = base.failure or other.failure
    if failure:
        return f"| {label} | not measured: {failure} | | | | |"
    times = [f"{1e3 * median_interval(c.samples())[0]:.{1 if steps == 1 else 3}f}" for c in contestants]
    median, low, high = ratio_interval(other, base)
    return f"| {label} | {times[0]} | {times[1]} | {median:.3f} | {low:.3f} to {high:.3f} | {aim} |"


def main():
    options = arguments()
    # Everybody gets the same cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    artifacts = {}
    print("\n| | prenorm, ms | attnres_block, ms | ratio | 95 % interval | aim |\n|---|---|---|---|---|---|")
    for width in (int(x) for x in options.widths.split(",")):
        for dtype in options.dtypes.split(","):
            for entry in options.entries.split(","):
                label, mode = f"{WORDS[entry]}, d {width}, {dtype}", MODES[entry]
                if (width, dtype, mode) not in artifacts:
                    artifacts[width, dtype, mode] = [artifact(options, model, width, dtype, mode) for model in MODELS]
                print(f"bench_depth: {label}", file=sys.stderr)
                programs = pair(options, artifacts[width, dtype, mode], entry)
                print(row(label, programs, options.rounds, AIMS[entry], SHORT if entry == "decode" else 1), flush=True)
        if options.peers and "train" in options.entries:
            label = f"PyTorch, torch.compile: training step, d {width}, f32"
            print(row(label, torch_pair(options, width), options.rounds, ""), flush=True)
    tokens = ", ".join(f"{SIZES[d][2] * CONTEXT} at d {d}" for d in SIZES)
    print(f"\n{2 * LAYERS} sublayers, blocks of 4; T {CONTEXT}, tokens a step {tokens}. {options.rounds} rounds, in each a "
          f"measured step ({SHORT} of one token) of both in turn; {options.threads} threads. The ratio is the median of the rounds' ratios.")


if __name__ == "__main__":
    main()
