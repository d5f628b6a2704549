"""bench_start.py --build DIR: how long until Strata is at work, as Markdown: compiling, starting, checking."""
import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from contest import median_interval

ROOT = Path(__file__).resolve().parent.parent.parent
REPEATS = 7
MODEL = "models/attnres_block.strata"


def seconds_of(program, *line):
    """None if the command failed."""
    start = time.perf_counter()
    done = subprocess.run([str(x) for x in (program, *line)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return None if done.returncode else time.perf_counter() - start


def measure(what, limit, command):
    """command(number) is one repetition; prints a row of the table."""
    times = [command(number) for number in range(REPEATS)]
    if None in times:
        print(f"| {what} | not measured: the command failed | | {limit} |")
        return
    median, low, high = median_interval(times)
    print(f"| {what} | {median:.3f} | {low:.3f} to {high:.3f} | {limit} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    strata = parser.parse_args().build / "strata"
    model = ROOT / MODEL
    print(f"\n| {MODEL} | s, median | 95 % interval | aim |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.write_bytes(b"strata " * 4096)

        def compile_with(db):
            return seconds_of(strata, "compile", model, "--mode", "train", "-q", "--db", f"{folder}/{db}",
                              "-o", f"{folder}/model.sta")

        def train(steps, number):
            return seconds_of(strata, "train", model, "--data", text, "--steps", steps, "--batch", 1, "--context", 16,
                              "-q", "--db", f"{folder}/train.db", "--out", f"{folder}/run{steps}.{number}")

        measure("compile, empty database", "15", lambda number: compile_with(f"cold{number}.db"))
        measure("compile, warm database", "", lambda number: compile_with("cold0.db"))
        train(1, REPEATS)
        measure("train one step of 16 tokens, warm database: start, step, checkpoint", "0.3 before the step",
                lambda number: train(1, number))
        measure("check with 100 layers", "1", lambda number: seconds_of(strata, "check", model, "-q", "--set", "layers=100"))


if __name__ == "__main__":
    main()
