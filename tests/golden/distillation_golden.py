#!/usr/bin/env python3
"""Reference values of the distillation losses, by PyTorch's functions in float64. Layout: README.md in this folder.

    python3 tests/golden/distillation_golden.py        writes distillation.json beside this script
"""
import json
import pathlib

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent


def soft(student, teacher, T):
    """Hinton et al. 2015, as transformers' knowledge distillation guide computes it."""
    return T * T * F.kl_div(F.log_softmax(student / T, -1), F.softmax(teacher / T, -1), reduction="batchmean")


def deit_soft(student, teacher, T):
    """facebookresearch/deit, losses.py: a mean over all elements."""
    sum_ = F.kl_div(F.log_softmax(student / T, 1), F.log_softmax(teacher / T, 1), reduction="sum", log_target=True)
    return sum_ * (T * T) / student.numel()


def deit_hard(student, teacher, T):
    return F.cross_entropy(student, teacher.argmax(dim=1))


def mse(student, teacher, T):
    return F.mse_loss(student, teacher)


LOSSES = dict(soft=soft, deit_soft=deit_soft, deit_hard=deit_hard, mse=mse)
SUMS = [
    (dict(label=0.5, soft=0.5), 5.0),
    (dict(soft=1.0), 1.0),
    (dict(label=0.5, deit_soft=0.5), 1.0),
    (dict(deit_soft=2.0), 3.0),
    (dict(label=0.5, deit_hard=0.5), 1.0),
    (dict(mse=0.25), 1.0),
    (dict(label=0.3, soft=0.2, deit_soft=0.7, deit_hard=0.4, mse=0.1), 2.0),
]


def case(weights, temperature, batch, classes):
    """Logits are float32 values, as the program reads them; all that is computed is float64."""
    student = (4 * torch.randn(batch, classes)).double().requires_grad_()
    teacher = (4 * torch.randn(batch, classes)).double()
    labels = torch.randint(classes, (batch,))
    loss = sum(weight * (F.cross_entropy(student, labels) if name == "label"
                         else LOSSES[name](student, teacher, temperature)) for name, weight in weights.items())
    loss.backward()
    flat = lambda t: t.detach().flatten().tolist()
    return dict(losses=", ".join(f"{n}:{w}" for n, w in weights.items()), temperature=temperature, batch=batch,
                classes=classes, student=flat(student), teacher=flat(teacher), labels=flat(labels), loss=loss.item(),
                gradient=flat(student.grad))


if __name__ == "__main__":
    torch.manual_seed(3)
    cases = [case(weights, T, *shape) for weights, T in SUMS for shape in [(6, 11), (3, 40)]]
    (HERE / "distillation.json").write_text(json.dumps(cases) + "\n")
