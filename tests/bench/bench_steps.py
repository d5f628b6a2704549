"""bench_steps.py --build DIR [--peers VENV]: Strata beside PyTorch and JAX, in turns; prints Markdown.

Whole training steps (forward, backward, AdamW) and single kernels, f32. A peer that is not installed is said.
"""
import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from contest import Contestant, hold, median_interval, ratio_interval

ROOT = Path(__file__).resolve().parent.parent.parent
PEERS = ("torch", "torch-compile", "jax")
NAMES = {"strata": "Strata", "torch": "PyTorch, eager", "torch-compile": "PyTorch, torch.compile", "jax": "JAX, jit",
         "torch-grouped": "PyTorch, grouped_mm", "floor": "reading parameters and states once",
         "peak": "the products alone, at the peak of f32"}

# case: title, model file, options, entry of the artifact. The peers' side of it is tests/peers/cases.py.
LANGUAGE = "d 256, 4 layers, 4 heads, ff 640, T 256, B 8, vocabulary 512"
SETTINGS = ["--set", "vocab=512", "--set", "layers=4", "--batch", "8", "--context", "256"]
KIMI = ["--set", "size=small", "--batch", "1", "--context", "512"]
EXPERTS = "4096 tokens, d 512, 64 experts of width 256, top 8"
# Operations of the products of a case: three forward, each with two gradients.
PRODUCTS = {"moe": 9 * 2 * 4096 * 8 * 512 * 256}
CASES = {
    "prenorm": (f"Training step of prenorm: {LANGUAGE}", "models/prenorm.strata", SETTINGS, "train"),
    "attnres_block": (f"Training step of attnres_block, blocks of 4 sublayers: {LANGUAGE}",
                      "models/attnres_block.strata", SETTINGS, "train"),
    "attn_res_forward": ("AttnRes forward: N 8, d 1024, T 4096", "tests/bench/attn_res.strata", [], "infer"),
    "attn_res_both": ("AttnRes forward and backward: N 8, d 1024, T 4096", "tests/bench/attn_res.strata", [],
                      "grad"),
    "attention_forward": ("Causal attention forward: B 8, h 4, T 256, dk 64", "tests/bench/attention.strata",
                          [], "infer"),
    "attention_both": ("Causal attention forward and backward: B 8, h 4, T 256, dk 64",
                       "tests/bench/attention.strata", [], "grad"),
    "kda_both": ("Kimi delta attention forward and backward: T 4096, h 8, dk 128", "tests/bench/kda.strata", [], "grad"),
    "moe_both": (f"Mixture of experts forward and backward: {EXPERTS}", "tests/bench/moe.strata",
                 ["--set", "n=4096"], "grad"),
    "moe_skewed_both": (f"The same, some experts chosen far more often: {EXPERTS}", "tests/bench/moe.strata",
                        ["--set", "n=4096", "--set", "skew=1"], "grad"),
    "moe_dense_both": ("As many operations as that, one expert: 32768 tokens, d 512, width 256",
                       "tests/bench/moe.strata", ["--set", "n=32768", "--set", "dense=1"], "grad"),
    "moe_bf16_both": (f"Mixture of experts in bf16, forward and backward: {EXPERTS}", "tests/bench/moe.strata",
                      ["--set", "n=4096", "--dtype", "bf16"], "grad"),
    "moe_bf16_skewed_both": (f"The same in bf16, some experts chosen far more often: {EXPERTS}", "tests/bench/moe.strata",
                             ["--set", "n=4096", "--set", "skew=1", "--dtype", "bf16"], "grad"),
    "decode:prenorm": ("One token of prenorm: d 256, 8 layers, in the middle of 512", "models/prenorm.strata",
                       ["--batch", "1", "--context", "512"], "decode"),
    "decode:kimi_linear": ("One token of kimi_linear: d 512, 12 layers, in the middle of 512", "models/kimi_linear.strata",
                           KIMI, "decode"),
    "decode:kimi_linear:bf16": ("One token of kimi_linear in bf16: d 512, 12 layers, in the middle of 512",
                                "models/kimi_linear.strata", [*KIMI, "--dtype", "bf16"], "decode"),
    "kda_decode": ("Kimi delta attention, one token: B 32, h 8, dk 128", "tests/bench/kda_decode.strata", [], "infer"),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="build folder with strata")
    parser.add_argument("--peers", type=Path, help="Python environment made by tests/peers/setup.sh")
    parser.add_argument("--db", type=Path, help="tuning database")
    parser.add_argument("--tune", metavar="BUDGET", help="tune each model first, e.g. 60s")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2, help="measured steps a turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", type=Path, help="every sample, as JSON")
    return parser.parse_args()


def strata(options, command, model, *more):
    line = [options.build / "strata", command, ROOT / model, "-q", "--target", "cpu", "--threads", options.threads]
    line += [] if "--dtype" in more else ["--dtype", "f32"]
    line += ["--db", options.db] if options.db else []
    done = subprocess.run([str(x) for x in [*line, *more]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True)
    if done.returncode:
        print(f"strata {command} {model}: {done.stderr.strip()}", file=sys.stderr)
    return done.returncode == 0


def strata_contestants(options, case):
    _, model, settings, entry = CASES[case]
    artifact = options.build / f"bench_{case.replace(':', '_')}.sta"
    if options.tune:
        strata(options, "tune", model, *settings, "--budget", options.tune, *(["--train"] if entry in ("train", "grad") else []))
    mode = "infer" if entry == "decode" else "train"
    if not strata(options, "compile", model, *settings, "--mode", mode, "-o", artifact):
        artifact = ""  # bench_step then says that there is none
    command = [str(options.build / "tests/bench_step"), str(artifact), entry, str(options.threads)]
    # The floor of a token is a contestant, because what memory gives changes with what else the machine does.
    floor = [Contestant("floor", [*command, "read"])] if entry == "decode" else []
    return [Contestant("strata", command), *floor]


def peer_contestants(options, case):
    if not options.peers:
        return []
    worker = str(ROOT / "tests/peers/worker.py")
    return [Contestant(peer, [str(options.peers / "bin/python"), worker, peer, case, str(options.threads)])
            for peer in (*PEERS, *(["torch-grouped"] if case.startswith("moe") and "dense" not in case else []))]


def peak_contestants(options, case):
    flops = PRODUCTS.get(case.split("_")[0])
    command = [str(options.build / "tests/bench_peak"), str(flops), str(options.threads)]
    return [Contestant("peak", command)] if flops else []


def milliseconds(samples):
    median, low, high = (1e3 * x for x in median_interval(samples))
    digits = 1 if median >= 10 else 3
    return f"{median:.{digits}f} | {low:.{digits}f} to {high:.{digits}f}"


def print_case(title, contestants):
    base = contestants[0]
    print(f"\n### {title}\n\n| program | ms, median | 95 % interval | times Strata's | 95 % interval |")
    print("|---|---|---|---|---|")
    for c in contestants:
        if c.failure or not c.rounds:
            print(f"| {NAMES[c.name]} | not measured: {c.failure} | | | |")
            continue
        times = "| |"
        if base.rounds and not base.failure:
            median, low, high = ratio_interval(c, base)
            times = f"{median:.2f} | {low:.2f} to {high:.2f} |" if c is not base else "1 | |"
        print(f"| {NAMES[c.name]} | {milliseconds(c.samples())} | {times}")


def main():
    options = arguments()
    # Everybody gets the same cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:options.threads])
    results, versions = {}, set()
    for case in options.cases.split(","):
        print(f"bench_steps: {case}", file=sys.stderr)
        contestants = [*strata_contestants(options, case), *peer_contestants(options, case),
                       *peak_contestants(options, case)]
        hold(contestants, options.rounds, options.steps)
        print_case(CASES[case][0], contestants)
        sys.stdout.flush()
        results[case] = {c.name: c.failure or c.rounds for c in contestants}
        versions |= {c.version for c in contestants if c.version}
    print(f"\nPeers: {', '.join(sorted(versions))}." if versions else
          "\nPeers: none installed (tests/peers/setup.sh makes an environment with PyTorch and JAX).")
    print(f"{options.rounds} rounds, in each {options.steps} measured steps of every program in turn; "
          f"{options.threads} threads.")
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
