#!/usr/bin/python3
"""replicate_depth.py STRATA TRAIN.txt HELD_OUT.txt OUT: does attention over depth pay, at equal parameters and tokens?

Trains models/lm.strata with five ways to connect sublayers at three sizes, each with its own best learning rate of a
grid (chosen with seed 0; the grid grows while its best is at an end) and then with further seeds, and fits loss =
a * compute ** -b to each. OUT keeps every run; started again, only what is missing is trained. At the end results.json, results.md and results.svg (docs/results/) are
in OUT.  --workers N runs N trainings at a time, one thread each; --only-report trains nothing.
"""
import argparse
import concurrent.futures
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

SCHEMES = {"standard": "PreNorm", "block": "AttnRes, 4 blocks", "full": "AttnRes, full", "mhc": "mHC, 4 streams",
           "dense": "DenseFormer"}
# Four blocks at every size. Tokens grow with the parameters.
SIZES = {
    "s": {"d": 64, "h": 2, "dk": 32, "ff": 160, "layers": 4, "block": 2, "steps": 600},
    "m": {"d": 96, "h": 3, "dk": 32, "ff": 256, "layers": 6, "block": 3, "steps": 800},
    "l": {"d": 128, "h": 4, "dk": 32, "ff": 336, "layers": 8, "block": 4, "steps": 1000},
}
RATES = ["1.5e-3", "3e-3", "6e-3"]
SEEDS = [0, 1, 2]
BATCH, CONTEXT = 16, 128
MODEL = "models/lm.strata"


class Study:
    def __init__(self, options):
        self.strata, self.out = options.strata, Path(options.out)
        self.train, self.held_out = options.train, options.held_out
        self.widths = {(size, scheme): self.width(size, scheme) for size in SIZES for scheme in SCHEMES}

    def settings(self, size, scheme, ff):
        sets = {key: value for key, value in SIZES[size].items() if key != "steps"} | {"ff": ff, "residual": scheme}
        return [part for key, value in sets.items() for part in ("--set", f"{key}={value}")]

    def parameters(self, size, scheme, ff):
        line = [self.strata, "check", MODEL, "--json", "-q", *self.settings(size, scheme, ff)]
        return json.loads(subprocess.run(line, check=True, capture_output=True).stdout)["parameters"]

    def width(self, size, scheme):
        """The feed-forward width, a multiple of 4, that gives the scheme PreNorm's number of parameters."""
        wide = SIZES[size]["ff"]
        target = self.parameters(size, "standard", wide)
        each = (self.parameters(size, scheme, wide + 4) - self.parameters(size, scheme, wide)) / 4
        excess = self.parameters(size, scheme, wide) - target
        return wide - 4 * round(excess / each / 4)

    def run(self, size, scheme, rate, seed):
        """The held-out loss, in nats a byte, of one training."""
        folder = self.out / f"{size}-{scheme}-{rate}-{seed}"
        done = folder / "loss"
        if not done.exists():
            line = [self.strata, "train", MODEL, "-q", *self.settings(size, scheme, self.widths[size, scheme]),
                    "--target", "cpu", "--dtype", "f32", "--threads", "1", "--db", str(self.out / "tune.db"),
                    "--batch", str(BATCH), "--context", str(CONTEXT), "--steps", str(SIZES[size]["steps"]),
                    "--lr", rate, "--seed", str(seed), "--data", self.train, "--eval-data", self.held_out,
                    "--keep", "1", "--checkpoint-every", "200"]
            go_on = ["--resume", str(folder)] if (folder / "latest").exists() else ["--out", str(folder)]
            subprocess.run([*line, *go_on], check=True, stdout=subprocess.DEVNULL)
            last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
            done.write_text(repr(json.loads(last)["eval_loss"]))
            for checkpoint in folder.glob("*.safetensors"):
                checkpoint.unlink()
        return float(done.read_text())

    def runs(self, pool, jobs):
        futures = {job: pool.submit(self.run, *job) for job in jobs}
        losses = {}
        for count, (job, future) in enumerate(futures.items(), 1):
            losses[job] = future.result()
            print(f"{count}/{len(futures)} {' '.join(map(str, job))}: {losses[job]:.4f}", file=sys.stderr, flush=True)
        return losses


def wider(rates, losses):
    """The rates, and one more beyond the best if that is at an end."""
    best = min(rates, key=losses.get)
    if best == rates[0]:
        return [f"{float(best) / 2:g}", *rates]
    return [*rates, f"{float(best) * 2:g}"] if best == rates[-1] else rates


def grids(s, pool, cells):
    """Per cell {rate: loss with the first seed}, the best rate of which has neighbours on both sides."""
    rates = {cell: RATES for cell in cells}
    while True:
        losses = s.runs(pool, [(*cell, rate, SEEDS[0]) for cell in cells for rate in rates[cell]])
        grid = {cell: {rate: losses[(*cell, rate, SEEDS[0])] for rate in rates[cell]} for cell in cells}
        grown = {cell: wider(rates[cell], grid[cell]) for cell in cells}
        if grown == rates:
            return grid
        rates = grown


def study(options):
    """Everything measured: {size: {scheme: {parameters, ff, rates: {rate: loss}, rate, losses: [one a seed]}}}"""
    s = Study(options)
    cells = [(size, scheme) for size in SIZES for scheme in SCHEMES]
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        grid = grids(s, pool, cells)
        best = {cell: min(losses, key=losses.get) for cell, losses in grid.items()}
        losses = s.runs(pool, [(*cell, best[cell], seed) for cell in cells for seed in SEEDS])
    return {size: {scheme: {
        "ff": s.widths[size, scheme],
        "parameters": s.parameters(size, scheme, s.widths[size, scheme]),
        "tokens": SIZES[size]["steps"] * BATCH * CONTEXT,
        "rates": grid[size, scheme],
        "rate": best[size, scheme],
        "losses": [losses[size, scheme, best[size, scheme], seed] for seed in SEEDS],
    } for scheme in SCHEMES} for size in SIZES}


# ---- statistics

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % point of Student's t for so many values


def interval(values):
    """Mean and half width of its 95 % interval."""
    values = np.asarray(values)
    return values.mean(), STUDENT[len(values)] * values.std(ddof=1) / np.sqrt(len(values))


def compute_of(cell):
    return 6.0 * cell["parameters"] * cell["tokens"]


def fit(cells, losses):
    """a, b of loss = a * compute ** -b by least squares of logarithms; losses[size][seed]."""
    x = np.log([compute_of(cell) for cell in cells])
    slope, level = np.polyfit(x, np.log([np.mean(one) for one in losses]), 1)
    return np.exp(level), -slope


def fits(results, rng, draws=2000):
    """Per scheme: exponent b and, at the largest size's compute, the compute that PreNorm would need for the same loss,
    each with a 95 % interval of the bootstrap over seeds."""
    table = {}
    for scheme in SCHEMES:
        def drawn(of, resample):
            cells = [results[size][of] for size in SIZES]
            losses = [rng.choice(c["losses"], len(c["losses"])) if resample else c["losses"] for c in cells]
            return fit(cells, losses)

        at = compute_of(results[list(SIZES)[-1]]["standard"])

        def both(resample):
            (a, b), (plain_a, plain_b) = drawn(scheme, resample), drawn("standard", resample)
            return b, (a * at ** -b / plain_a) ** (-1 / plain_b) / at

        samples = np.array([both(True) for _ in range(draws)])
        table[scheme] = {"value": both(False), "low": np.percentile(samples, 2.5, axis=0).tolist(),
                         "high": np.percentile(samples, 97.5, axis=0).tolist()}
    return table


def report(results, rng):
    lines = ["| size | scheme | parameters | ff | learning rate | held-out loss | less than PreNorm |", "|---|---|---|---|---|---|---|"]
    for size, row in results.items():
        for scheme, cell in row.items():
            mean, half = interval(cell["losses"])
            gain, gain_half = interval(np.subtract(row["standard"]["losses"], cell["losses"]))
            less = "" if scheme == "standard" else f"{gain:+.4f} ± {gain_half:.4f}"
            lines.append(f"| {size} | {SCHEMES[scheme]} | {cell['parameters']} | {cell['ff']} | {cell['rate']} "
                         f"| {mean:.4f} ± {half:.4f} | {less} |")
    lines += ["", "| scheme | exponent b | compute that PreNorm needs for the same loss |", "|---|---|---|"]
    for scheme, row in fits(results, rng).items():
        (b, ratio), low, high = row["value"], row["low"], row["high"]
        lines.append(f"| {SCHEMES[scheme]} | {b:.4f} ({low[0]:.4f} to {high[0]:.4f}) "
                     f"| {ratio:.2f} x ({low[1]:.2f} to {high[1]:.2f}) |")
    return "\n".join(lines) + "\n"


COLOURS = ["#4a4e69", "#1f6fb4", "#2a9d5c", "#d1495b", "#e08e1b"]


def picture(results, file):
    """Held-out loss over training compute, with 95 % intervals and fitted lines, drawn by gnuplot as SVG."""
    at = [compute_of(cell) for row in results.values() for cell in row.values()]
    losses = [loss for row in results.values() for cell in row.values() for loss in cell["losses"]]
    sizes = ", ".join(f"{compute_of(row['standard']):.1e}" for row in results.values())
    script = ["set terminal svg size 640,420 background 'white' font 'sans,12'", f"set output '{file}'", "set logscale xy",
              "set xlabel 'compute, 6 x parameters x tokens'", "set ylabel 'held-out loss, nats a byte'",
              f"set xrange [{0.8 * min(at)}:{1.25 * max(at)}]", f"set yrange [{0.985 * min(losses)}:{1.015 * max(losses)}]",
              f"set xtics ({sizes})", f"set ytics ({', '.join(f'{level / 20:.2f}' for level in range(1, 100))})",
              "set grid lc rgb '#dddddd'", "set key top right"]
    curves = []
    for index, (scheme, colour) in enumerate(zip(SCHEMES, COLOURS)):
        cells = [row[scheme] for row in results.values()]
        aside = 1.05 ** (index - len(SCHEMES) // 2)  # so that intervals do not hide each other
        points = [(compute_of(cell) * aside, *interval(cell["losses"])) for cell in cells]
        script += [f"$s{index} << END", *(f"{x} {y} {half}" for x, y, half in points), "END"]
        a, b = fit(cells, [cell["losses"] for cell in cells])
        curves += [f"$s{index} using 1:2:3 with yerrorbars pt 7 ps 0.6 lc rgb '{colour}' notitle",
                   f"[{compute_of(cells[0])}:{compute_of(cells[-1])}] {a}*x**{-b} lw 1.5 lc rgb '{colour}' title '{SCHEMES[scheme]}'"]
    script.append("plot " + ", ".join(curves))
    subprocess.run(["gnuplot"], input="\n".join(script), text=True, check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("strata", "train", "held_out", "out"):
        parser.add_argument(name)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only-report", action="store_true")
    options = parser.parse_args()
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    if not options.only_report:
        (out / "results.json").write_text(json.dumps(study(options), indent=1))
    results = json.loads((out / "results.json").read_text())
    (out / "results.md").write_text(report(results, np.random.default_rng(0)))
    picture(results, out / "results.svg")
    print((out / "results.md").read_text())


if __name__ == "__main__":
    main()
