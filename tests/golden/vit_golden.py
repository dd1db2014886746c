#!/usr/bin/env python3
"""Reference values for ViT from transformers (4.56) and PyTorch, computed in float64. Layout: README.md in this folder.

    python3 tests/golden/vit_golden.py                          writes the small fixtures beside this script
    python3 tests/golden/vit_golden.py --base OUT --photos DIR  the shape of ViT-B/16-224 on real photographs, into OUT
"""
import argparse
import copy
import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from transformers import Trainer, ViTConfig, ViTForImageClassification, ViTImageProcessor, get_linear_schedule_with_warmup

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {  # config fields, classes, images in a batch, learning rate, weight decay
    "tiny": (dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=32,
                  patch_size=8), 5, 4, 5e-5, 0.0),
    "tokens26": (dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, intermediate_size=80, image_size=40,
                      patch_size=8, qkv_bias=False, hidden_act="gelu_new"), 7, 3, 2e-4, 0.1),
    "patch14": (dict(hidden_size=22, num_hidden_layers=1, num_attention_heads=2, intermediate_size=52, image_size=42,
                     patch_size=14, hidden_act="quick_gelu", layer_norm_eps=1e-6), 3, 5, 1e-3, 0.01),
    "relu": (dict(hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=37, image_size=15,
                  patch_size=5, hidden_act="relu", layer_norm_eps=1e-5), 2, 4, 1e-4, 0.05),
}
BATCHES, STEPS, WARMUP, CLIP = 2, 20, 5, 1.0


def set_realistic_weights(model, generator):
    """Weights of the scale that training leaves: unit-variance activations, norms and biases away from 1 and 0."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator, dtype=torch.float32)
        if "layernorm" in name and name.endswith("weight"):
            value = 1 + 0.2 * noise
        elif name.endswith("bias"):
            value = 0.2 * noise
        elif "cls_token" in name or "position" in name:
            value = 0.5 * noise
        else:
            gain = 2.0 if "classifier" in name else 1.2
            value = noise * gain / math.sqrt(p[0].numel())
        p.data.copy_(value)


def smooth_images(count, size, generator):
    """Images with low and high frequencies in every channel, as uint8 [count, size, size, 3]."""
    coarse = torch.rand((count, 3, 4, 4), generator=generator) * 255
    image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    image += 25 * torch.randn(image.shape, generator=generator)
    return image.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def normalize(images):
    """What ViTImageProcessor does after resizing: 1/255, then mean 0.5 and std 0.5; [.., 3, H, W] float64."""
    return ((images.double() / 255 - 0.5) / 0.5).movedim(-1, -3)


def optimizer_of(model, lr, weight_decay):
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    groups = [
        {"params": [p for n, p in model.named_parameters() if n in decayed], "weight_decay": weight_decay},
        {"params": [p for n, p in model.named_parameters() if n not in decayed], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, foreach=False), sorted(decayed)


def train(model, pixels, labels, lr, weight_decay, steps):
    optimizer, decayed = optimizer_of(model, lr, weight_decay)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, steps)
    losses, norms = [], []
    for step in range(steps):
        batch = step % len(pixels)
        loss = model(pixels[batch], labels=labels[batch]).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    return dict(steps=steps, lr=lr, warmup=WARMUP, schedule="linear", weight_decay=weight_decay, clip_norm=CLIP,
                beta1=0.9, beta2=0.999, epsilon=1e-8, decayed=decayed, losses=losses, grad_norms=norms)


def tensors_of(named):
    return {name: t.detach().float().contiguous() for name, t in named}


def make(folder, fields, classes, images, labels, lr, weight_decay, steps, interpolate_to=None):
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(20240607)
    config = ViTConfig(**fields, id2label={i: f"class {i}" for i in range(classes)},
                       label2id={f"class {i}": i for i in range(classes)})
    model = ViTForImageClassification(config)
    set_realistic_weights(model, generator)
    model.save_pretrained(folder)
    size = fields["image_size"]
    ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)

    twin = copy.deepcopy(model).train()
    model = model.double().train()  # no dropout anywhere, so train and eval are the same function
    pixels = normalize(images)
    out = model(pixels[0], labels=labels[0])
    out.loss.backward()
    data = {"images": images, "labels": labels.int(), "logits": out.logits.detach().float()}
    save_file(tensors_of((n, p.grad) for n, p in model.named_parameters()), folder / "grads.safetensors")
    grad_norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
    expected = dict(loss=out.loss.item(), grad_norm=grad_norm)
    if interpolate_to:
        data["large_images"] = smooth_images(2, interpolate_to, generator)
        large = model(normalize(data["large_images"]), interpolate_pos_encoding=True)
        data["large_logits"] = large.logits.detach().float()
    expected["training"] = train(model, pixels, labels, lr, weight_decay, steps)
    single = train(twin, pixels.float(), labels, lr, weight_decay, steps)  # what float32 costs transformers itself
    off = {k: max(abs(a / b - 1) for a, b in zip(single[k], expected["training"][k])) for k in ("losses", "grad_norms")}
    data["trained_logits"] = model(pixels[0]).logits.detach().float()
    save_file({k: v.contiguous() for k, v in data.items()}, folder / "data.safetensors")
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    logits = data["logits"]
    print(f"{folder.name}: float32 is off by {off['losses']:.1e} (loss), {off['grad_norms']:.1e} (norm); loss {expected['loss']:.4f}, gradient norm {grad_norm:.3f}, logits {logits.std():.2f} std, "
          f"loss after {steps} steps {expected['training']['losses'][-1]:.4f}, "
          f"{sum(f.stat().st_size for f in folder.iterdir()) / 1e3:.0f} kB")


def small_fixtures():
    for name, (fields, classes, batch, lr, weight_decay) in MODELS.items():
        generator = torch.Generator().manual_seed(len(name))
        size = fields["image_size"]
        images = smooth_images(BATCHES * batch, size, generator).view(BATCHES, batch, size, size, 3)
        labels = torch.randint(0, classes, (BATCHES, batch), generator=generator)
        make(HERE / f"vit_{name}", fields, classes, images, labels, lr, weight_decay, STEPS,
             interpolate_to=48 if name == "tiny" else None)


def base_on_photographs(out, photos, batch, steps, classes=1000):
    from PIL import Image
    import numpy
    paths = sorted(p for p in photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = paths[:: max(1, len(paths) // (BATCHES * batch))][: BATCHES * batch]
    pictures = [Image.open(p).convert("RGB").resize((224, 224), Image.BILINEAR) for p in paths]
    images = torch.from_numpy(numpy.stack([numpy.asarray(p) for p in pictures])).view(BATCHES, batch, 224, 224, 3)
    labels = torch.arange(BATCHES * batch).view(BATCHES, batch) * 7 % classes
    make(out, dict(image_size=224), classes, images.contiguous(), labels, 5e-5, 0.0, steps)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=pathlib.Path, help="write the ViT-B/16-224 shape into this folder instead")
    parser.add_argument("--photos", type=pathlib.Path, help="folder of photographs, with --base")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    if args.base:
        if not args.photos:
            parser.error("--base needs --photos")
        base_on_photographs(args.base, args.photos, args.batch, args.steps)
    else:
        small_fixtures()
