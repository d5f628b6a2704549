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
DEMO = ("--set", "d=128", "--set", "dk=32", "--set", "ff=320", "--set", "layers=4")  # the model of tools/demo.sh


def seconds_of(program, *line):
    """None if the command failed."""
    start = time.perf_counter()
    done = subprocess.run([str(x) for x in (program, *line)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return None if done.returncode else time.perf_counter() - start


def seconds_until(file, program, *line):
    """From the start until `file` is there; the program then goes on to its end."""
    start = time.perf_counter()
    child = subprocess.Popen([str(x) for x in (program, *line)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not file.exists() and child.poll() is None:
        time.sleep(0.0005)
    seconds = time.perf_counter() - start
    return seconds if child.wait() == 0 and file.exists() else None


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
    print(f"\n| {MODEL}, at the demo's size | s, median | 95 % interval | aim |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text"
        text.write_bytes(b"strata " * 4096)

        def compile_with(db):
            return seconds_of(strata, "compile", model, *DEMO, "--mode", "train", "-q", "--db", f"{folder}/{db}",
                              "-o", f"{folder}/model.sta")

        def first_step(number):
            """The first checkpoint is written just before the first step begins."""
            run = Path(folder) / f"run{number}"
            return seconds_until(run / "latest", strata, "train", model, *DEMO, "--data", text, "--steps", 1, "--batch", 8,
                                 "--context", 128, "-q", "--db", f"{folder}/train.db", "--out", run)

        measure("compile, empty database", "15", lambda number: compile_with(f"cold{number}.db"))
        measure("compile, warm database", "", lambda number: compile_with("cold0.db"))
        first_step(REPEATS)
        measure("train, warm database: until the first step begins", "0.3", first_step)
        measure("check with 100 layers", "1", lambda number: seconds_of(strata, "check", model, "-q", "--set", "layers=100"))


if __name__ == "__main__":
    main()
