"""worker.py PEER CASE [THREADS [DEVICE]]: measures one peer, step by step, for a driver that alternates between several.

PEER: torch, torch-compile, torch-grouped (experts) or jax; on the device cuda torch, torch-compile or fla. CASE: a model's training step or a
kernel, see cases.py, and peer_cuda.py for cuda.
Prints {"peer", "case", "version"} as a line of JSON when it is warm; then, for each line that it reads, does
one step and prints its seconds. Ends with its input.
"""
import json
import os
import sys

WARM_UP, LONG = 4, 1.0  # steps; seconds, after which there was enough of it

# Without these, glibc gives freed temporaries back to the kernel and every step faults them in again.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "8589934592", "MALLOC_TRIM_THRESHOLD_": "17179869184",
          "MALLOC_TOP_PAD_": "1073741824"}


def environment(threads):
    return {**MALLOC, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def load(peer, case, threads, device):
    """(step, version). Imports happen here, after the environment is right."""
    if device == "cuda":
        import peer_cuda
        return peer_cuda.case(case, peer), peer_cuda.VERSION
    if peer == "jax":
        import peer_jax
        return peer_jax.case(case), peer_jax.VERSION
    import peer_torch
    return peer_torch.case(case, peer, threads), peer_torch.VERSION


def main(peer, case, threads=2, device="cpu"):
    threads = int(threads)
    wanted = environment(threads) if device == "cpu" else {}
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})
    # XLA takes as many threads as it may use cores.
    if device == "cpu":
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])

    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    step, version = load(peer, case, threads, device)
    spent = 0.0
    for _ in range(WARM_UP):
        spent += step() if spent < LONG else 0
    print(json.dumps({"peer": peer, "case": case, "version": version}), file=answers, flush=True)
    for _ in sys.stdin:
        print(f"{step():.9f}", file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
