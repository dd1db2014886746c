#!/usr/bin/env python3
"""Reference values for single ops: torch.optim.AdamW and transformers' normalisation of pixels. Layout: README.md in this folder.

    python3 tests/golden/ops_golden.py        writes adamw.json and pixel_values.json beside this script
"""
import json
import pathlib

import numpy
import torch
from transformers import ViTImageProcessor

HERE = pathlib.Path(__file__).resolve().parent


def floats(tensor):
    return [float(x) for x in tensor.detach().flatten()]  # a float32 is exact in JSON's decimals


def adamw(elements=24, steps=20):
    torch.manual_seed(1)
    settings = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05)
    parameter = torch.nn.Parameter(torch.randn(elements))
    optimizer = torch.optim.AdamW([parameter], foreach=False, fused=False, **settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / (2 * steps))
    gradients = torch.randn(steps, elements) * torch.logspace(-6, 1, elements)  # tiny ones meet eps
    rates, before = [], floats(parameter)
    for gradient in gradients:
        rates.append(optimizer.param_groups[0]["lr"])
        parameter.grad = gradient.clone()
        optimizer.step()
        schedule.step()
    state = optimizer.state[parameter]
    return dict(settings=settings, learning_rates=rates, before=before, gradients=[floats(g) for g in gradients],
                after=floats(parameter), m=floats(state["exp_avg"]), v=floats(state["exp_avg_sq"]))


def pixel_values():
    """Every value in every channel: a 16 x 16 image, [channel][value]."""
    settings = dict(image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])
    image = numpy.repeat(numpy.arange(256, dtype=numpy.uint8).reshape(16, 16, 1), 3, axis=2)
    processor = ViTImageProcessor(do_resize=False, **settings)
    values = processor(image, return_tensors="np", input_data_format="channels_last")["pixel_values"][0]
    assert values.dtype == numpy.float32 and values.shape == (3, 16, 16)
    return dict(settings, rescale=processor.rescale_factor, values=[floats(torch.tensor(c)) for c in values])


if __name__ == "__main__":
    (HERE / "adamw.json").write_text(json.dumps(adamw()) + "\n")
    (HERE / "pixel_values.json").write_text(json.dumps(pixel_values()) + "\n")
