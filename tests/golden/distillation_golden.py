#!/usr/bin/env python3
"""Reference values of the distillation losses, by PyTorch's functions in float64, and of a DeiT, by transformers (4.56).
Layout: README.md in this folder.

    python3 tests/golden/distillation_golden.py        writes distillation.json, features.json and deit_tiny/ beside it
"""
import json
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher, ViTImageProcessor

from vit_golden import normalize, set_realistic_weights, smooth_images

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


def features(pairs=2, batch=3, tokens=5, student=6, teacher=10, weight=0.7):
    """Mean over pairs of layers of the mean squared difference, projected by a layer of its own each."""
    single = lambda *shape: torch.randn(*shape).double().requires_grad_()
    xs, ts = [single(batch, tokens, student) for _ in range(pairs)], [single(batch, tokens, teacher) for _ in range(pairs)]
    weights, biases = [single(teacher, student) for _ in range(pairs)], [single(teacher) for _ in range(pairs)]
    loss = weight * sum(F.mse_loss(F.linear(x, w, b), t) for x, w, b, t in zip(xs, weights, biases, ts)) / pairs
    loss.backward()
    flat = lambda tensors: [t.detach().flatten().tolist() for t in tensors]
    grads = lambda tensors: flat([t.grad for t in tensors])
    return dict(batch=batch, tokens=tokens, student=student, teacher=teacher, weight=weight, x=flat(xs), target=flat(ts),
                projection=flat(weights), bias=flat(biases), loss=loss.item(), dx=grads(xs), dprojection=grads(weights),
                dbias=grads(biases))


def deit(folder, classes=5, batch=4):
    """Its answer is the mean of both heads; the loss is DeiT's hard distillation."""
    model = DeiTForImageClassificationWithTeacher(DeiTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8,
        num_labels=classes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)).eval()
    generator = torch.Generator().manual_seed(5)
    set_realistic_weights(model, generator)
    model.save_pretrained(folder)
    ViTImageProcessor(size=dict(height=32, width=32)).save_pretrained(folder)
    model = model.double()
    images, labels = smooth_images(batch, 32, generator), torch.randint(classes, (batch,), generator=generator)
    teacher = 4 * torch.randn(batch, classes, generator=generator)
    out = model(normalize(images))
    loss = 0.5 * F.cross_entropy(out.cls_logits, labels) + 0.5 * deit_hard(out.distillation_logits, teacher, 1.0)
    loss.backward()
    save_file(dict(images=images, labels=labels.int(), teacher=teacher, logits=out.logits.float()),
              folder / "data.safetensors")
    save_file({n: p.grad.float().contiguous() for n, p in model.named_parameters()}, folder / "grads.safetensors")
    (folder / "expected.json").write_text(json.dumps(dict(loss=loss.item())) + "\n")


if __name__ == "__main__":
    torch.manual_seed(3)
    cases = [case(weights, T, *shape) for weights, T in SUMS for shape in [(6, 11), (3, 40)]]
    (HERE / "distillation.json").write_text(json.dumps(cases) + "\n")
    (HERE / "features.json").write_text(json.dumps(features()) + "\n")
    deit(HERE / "deit_tiny")
