#!/usr/bin/env python3
"""How far the losses of two runs of the same steps are apart: python3 launch/compare_runs.py RUN OTHER"""
import json
import sys


def losses(run):
    """Step -> (loss, gradient norm) of the lines of a training."""
    with open(f"{run}/metrics.jsonl") as lines:
        return {m["step"]: (m["loss"], m["grad_norm"]) for m in map(json.loads, lines) if "loss" in m}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    a, b = losses(sys.argv[1]), losses(sys.argv[2])
    steps = sorted(set(a) & set(b))
    if not steps or len(steps) < max(len(a), len(b)):
        sys.exit(f"the runs have {len(a)} and {len(b)} logged steps, {len(steps)} of them in common: compare runs of the same steps")
    for first, last in ((0, 20), (0, len(steps)), (len(steps) // 2, len(steps))):
        span = steps[first:last]
        apart = [abs(a[s][0] - b[s][0]) / max(abs(a[s][0]), 1e-30) for s in span]
        mean_a, mean_b = (sum(r[s][0] for s in span) / len(span) for r in (a, b))
        norm = max(abs(a[s][1] - b[s][1]) / max(abs(a[s][1]), 1e-30) for s in span)
        print(f"steps {span[0]:>4} to {span[-1]:<4} mean loss {mean_a:.6f} and {mean_b:.6f}; losses apart at most {max(apart):.2e}, "
              f"on average {sum(apart) / len(apart):.2e}; gradient norms at most {norm:.2e}")
    print("equal to the bit" if all(a[s] == b[s] for s in steps) else "not equal to the bit: losses differ")


if __name__ == "__main__":
    main()
