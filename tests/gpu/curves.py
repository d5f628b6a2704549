"""curves.py A B TOLERANCE: the losses of two training runs (metrics.jsonl), step by step: |a - b| <= TOLERANCE * a."""
import json
import sys


def losses(path):
    with open(path) as lines:
        return [json.loads(line)["loss"] for line in lines]


def main(one, other, tolerance):
    a, b = losses(one), losses(other)
    if len(a) != len(b) or not a:
        sys.exit(f"curves: {len(a)} steps in {one}, {len(b)} in {other}")
    # A loss that is no number is as far off as can be.
    apart = [abs(x - y) / x if abs(x - y) < float("inf") else float("inf") for x, y in zip(a, b)]
    worst = max(range(len(a)), key=apart.__getitem__)
    print(f"curves: {len(a)} steps, losses {a[0]:.4f} to {a[-1]:.4f} and {b[0]:.4f} to {b[-1]:.4f}; "
          f"{apart[worst]:.2e} apart at most, in step {worst + 1} ({float(tolerance):.0e} allowed)")
    if apart[worst] > float(tolerance):
        sys.exit(1)
    if not a[-1] < a[0]:
        sys.exit("curves: nothing was learnt")


if __name__ == "__main__":
    main(*sys.argv[1:])
