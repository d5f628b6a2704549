"""bench_gpu.py --build DIR --out DIR: Strata on a GPU beside PyTorch, cuBLAS and flash-linear-attention, in turns;
prints Markdown, and writes every sample to DIR/samples.json.

Contestants of several cases start together, because compiling takes longer than measuring; cases are measured one by
one. What is not measured when the time is over is said.
"""
import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gpu_cases
from contest import Contestant, hold, median_interval, ratio_interval

ROOT = Path(__file__).resolve().parent.parent.parent
NAMES = {"strata": "Strata", "torch": "PyTorch, eager", "torch-compile": "PyTorch, torch.compile",
         "fla": "flash-linear-attention"}
MEMORY = 120 * gpu_cases.GIB  # that contestants started together may take
TOGETHER = 5  # cases
WARM_UP_RUNS = 4  # of bench_step


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, required=True, help="folder with strata and tests/bench_step")
    parser.add_argument("--out", type=Path, required=True, help="gets artifacts and samples.json")
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--budget", type=float, default=420, help="seconds for everything")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="measured steps a turn")
    parser.add_argument("--only", default="", help="cases whose names contain one of these, separated by commas")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the script out")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    return parser.parse_args()


def compile_case(options, case):
    """The artifact, or why there is none."""
    artifact = options.out / f"{case.key}.sta"
    line = [options.build / "strata", "compile", *case.command(), "--target", options.target, "--dtype", "bf16", "-q",
            "--db", options.out / "bench.db", "-o", artifact]
    done = subprocess.run([str(x) for x in line], cwd=ROOT, capture_output=True, text=True)
    return artifact, done.stderr.strip().splitlines()[-1:] if done.returncode else []


def strata(options, case, artifact, kernels):
    path, failure = artifact
    contestant = Contestant("strata", [str(options.build / "tests/bench_step"), str(path), case.entry, "2",
                                       *([kernels] if kernels else [])])
    if failure:
        contestant.failure = failure[0]
    return contestant


def peer(options, case, name):
    return Contestant(name, [options.python, str(ROOT / "tests/peers/worker.py"), name, case.peer, "2", "cuda"])


def starters(options, case, artifacts):
    """Functions that start the contestants of a case."""
    if case.model:
        yield lambda: strata(options, case, artifacts[case.key].result(), case.kernels)
    for name in case.peers:
        yield lambda name=name: peer(options, case, name)


def measure(options, contestants):
    hold(contestants, options.rounds, options.steps)
    return contestants


def groups(cases):
    """Neighbours whose contestants fit on the GPU together."""
    group = []
    for case in cases:
        if group and (case.alone or group[-1].alone or len(group) == TOGETHER or
                      sum(c.memory for c in group) + case.memory > MEMORY):
            yield group
            group = []
        group.append(case)
    if group:
        yield group


def run_group(options, group, artifacts):
    """{key: contestants}, all of them closed."""
    if group[0].alone:
        return {group[0].key: [measure(options, [start()])[0] for start in starters(options, group[0], artifacts)]}
    started = {case.key: [start() for start in starters(options, case, artifacts)] for case in group}
    for contestants in started.values():  # nobody warms up while others are measured
        for contestant in contestants:
            contestant.wait_until_warm()
    return {key: measure(options, contestants) for key, contestants in started.items()}


# ---- results

def duration(samples):
    median, low, high = (1e3 * x for x in median_interval(samples))
    digits = 4 if median < 1 else 3 if median < 100 else 1
    return f"{median:.{digits}f} | {low:.{digits}f} to {high:.{digits}f}"


def rate(case, seconds, bandwidth):
    if case.flops:
        return f"{case.flops / seconds * 1e-12:.0f} TFLOP/s"
    if not case.bytes:
        return ""
    text = f"{case.bytes / seconds * 1e-9:.0f} GB/s"
    return text + (f", {100 * case.bytes / seconds / bandwidth:.0f} %" if bandwidth else "")


def print_case(case, contestants, bandwidth):
    base = contestants[0]
    for c in contestants:
        if c.failure or not c.rounds:
            print(f"| {case.title} | {NAMES[c.name]} | not measured: {c.failure} | | | |")
            continue
        times = ""
        if base.rounds and not base.failure and len(contestants) > 1:
            median, low, high = ratio_interval(c, base)
            times = f"{median:.2f} ({low:.2f} to {high:.2f})" if c is not base else "1"
        print(f"| {case.title} | {NAMES[c.name]} | {duration(c.samples())} | "
              f"{rate(case, statistics.median(c.samples()), bandwidth)} | {times} |")


def copy_bandwidth(results, cases):
    """Bytes a second of the copy, read and written; 0: unknown."""
    for contestant in results.get("copy", []):
        if contestant.rounds:
            return next(c.bytes for c in cases if c.key == "copy") / statistics.median(contestant.samples())
    return 0


# ---- launch gaps

def kernel_seconds(options, artifact, entry):
    """The sum of a run's kernels by Nsight Compute, each as if it were alone; None, and why."""
    ncu = shutil.which("ncu")
    if not ncu:
        return None, "Nsight Compute (ncu) is not here"
    line = [ncu, "--clock-control", "none", "--cache-control", "none", "--metrics", "gpu__time_duration.sum",
            "--print-units", "base", "--csv", str(options.build / "tests/bench_step"), str(artifact), entry]
    done = subprocess.run(line, capture_output=True, text=True, input="step\n", timeout=120)
    rows = list(csv.DictReader(l for l in done.stdout.splitlines() if l.startswith('"')))
    times = [float(row["Metric Value"].replace(",", "")) * 1e-9 for row in rows
             if row.get("Metric Name") == "gpu__time_duration.sum"]
    if not times:
        return None, (done.stderr + done.stdout).strip().splitlines()[-1:] or "ncu says nothing"
    return sum(times) / (WARM_UP_RUNS + 1), None


def print_gaps(options, case, artifact):
    whole = strata(options, case, artifact, "all")
    measure(options, [whole])
    if whole.failure:
        print(f"\nGaps between kernels: not measured: {whole.failure}")
        return None
    graph = statistics.median(whole.samples())
    try:
        kernels, why = kernel_seconds(options, artifact[0], case.entry)
    except subprocess.TimeoutExpired:
        kernels, why = None, "ncu ran out of time"
    print(f"\nThe graph takes {1e3 * graph:.3f} ms of the GPU, by events.", end=" ")
    if kernels:
        print(f"Its kernels one by one take {1e3 * kernels:.3f} ms (ncu): gaps are {100 * (1 - kernels / graph):.1f} %.")
    else:
        print(f"Its kernels one by one: not measured: {why}")
    return {"graph": graph, "kernels": kernels}


# ---- everything

def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + options.budget
    wanted = [name for name in options.only.split(",") if name]
    sections = [(title, [c for c in cases if not wanted or any(name in c.key for name in wanted)])
                for title, cases in gpu_cases.sections(options.small)]
    cases = [case for _, of_section in sections for case in of_section]
    if options.list:
        print("\n".join(f"{c.key}: {c.memory / gpu_cases.GIB:.1f} GiB{', alone' * c.alone}" for c in cases))
        return
    pool = ThreadPoolExecutor(max_workers=2)
    artifacts = {case.key: pool.submit(compile_case, options, case) for case in cases if case.model}
    results, versions, gaps = {}, set(), None
    for title, of_section in sections:
        if not of_section:
            continue
        print(f"\n## {title}\n\n| case | program | ms, median | 95 % interval | rate, of the copy's | times Strata's |")
        print("|---|---|---|---|---|---|")
        for group in groups(of_section):
            if time.monotonic() > end:
                for case in group:
                    print(f"| {case.title} | | not measured: out of time | | | |")
                continue
            print(f"bench-gpu: {', '.join(case.key for case in group)}", file=sys.stderr, flush=True)
            measured = run_group(options, group, artifacts)
            results |= measured
            versions |= {c.version for contestants in measured.values() for c in contestants if c.version}
            for case in group:
                print_case(case, measured[case.key], copy_bandwidth(results, cases))
        if any(case.key == "small_step" for case in of_section) and time.monotonic() < end:
            gaps = print_gaps(options, of_section[0], artifacts["small_step"].result())
        sys.stdout.flush()
    for artifact in artifacts.values():
        artifact.cancel()
    print(f"\nPeers: {', '.join(sorted(versions)) or 'none'}. {options.rounds} rounds, in each {options.steps} measured "
          "steps of every program in turn.")
    samples = {key: {c.name: c.failure or c.rounds for c in contestants} for key, contestants in results.items()}
    (options.out / "samples.json").write_text(json.dumps({"samples": samples, "gaps": gaps}))
    if not any(c.rounds for contestants in results.values() for c in contestants):
        sys.exit(3)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
