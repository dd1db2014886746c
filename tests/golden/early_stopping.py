"""Writes early_stopping.json: what Lightning's EarlyStopping decides, evaluation after evaluation.

    pip install torch pytorch-lightning
    python3 tests/golden/early_stopping.py
"""
import json
import math
import pathlib
import random

import torch
from pytorch_lightning.callbacks.early_stopping import EarlyStopping

random.seed(7)


def value():
    kind = random.random()
    if kind < 0.04:
        return random.choice([math.nan, math.inf, -math.inf])
    return random.choice([random.uniform(0, 1), random.randrange(0, 9) / 8])  # eighths: ties and exact distances


def case():
    settings = {
        "mode": random.choice(["min", "max"]),
        "min_delta": random.choice([0.0, 0.0, 0.125, 0.25]),
        "patience": random.choice([0, 1, 2, 3, 5]),
        "check_finite": random.random() < 0.7,
        "stopping_threshold": random.choice([None, None, 0.125, 0.875]),
        "divergence_threshold": random.choice([None, None, 0.125, 0.875]),
    }
    stopper = EarlyStopping("eval_loss", **settings)
    checks = []
    for _ in range(8):
        current = value()
        stop, _ = stopper._evaluate_stopping_criteria(torch.tensor(current, dtype=torch.float64))
        checks.append({"value": str(current), "stop": stop, "reason": stopper.stopping_reason.name.lower() if stop else "",
                       "waiting": stopper.wait_count, "best": str(float(stopper.best_score))})
        if stop:
            break
    return {"settings": settings, "checks": checks}


cases = [case() for _ in range(120)]
path = pathlib.Path(__file__).with_name("early_stopping.json")
path.write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
