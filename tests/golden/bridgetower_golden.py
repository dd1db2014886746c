#!/usr/bin/env python3
"""Reference values for BridgeTower from transformers (4.56) and PyTorch, computed in float64 (of the real shapes the
steps in float32). Layout: README.md in this folder.

    python3 tests/golden/bridgetower_golden.py                       writes the small fixtures beside this script
    python3 tests/golden/bridgetower_golden.py --shape base --out OUT  the shape of the base (or large) checkpoint with
                                                                     random weights, into OUT; --batch and --tokens say how much
"""
import argparse
import json
import math
import pathlib
import zlib

import torch
from safetensors.torch import save_file
from transformers import (BridgeTowerConfig, BridgeTowerForContrastiveLearning, BridgeTowerForImageAndTextRetrieval,
                          BridgeTowerForMaskedLM, Trainer, get_linear_schedule_with_warmup)

HERE = pathlib.Path(__file__).resolve().parent
HEADS = {"itm": BridgeTowerForImageAndTextRetrieval, "itc": BridgeTowerForContrastiveLearning, "mlm": BridgeTowerForMaskedLM}
STEPS, WARMUP, CLIP, SAMPLED = 20, 5, 1.0, 64
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def text(**fields):
    return dict(dict(vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48,
                     max_position_embeddings=14, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), **fields)


MODELS = {  # the top level, vision, text; samples, tokens, learning rate, weight decay
    # a vision tower deeper than the text tower
    "tiny": (dict(hidden_size=64, num_hidden_layers=2, contrastive_hidden_size=16),
             dict(hidden_size=64, num_hidden_layers=3, image_size=32, patch_size=16),
             text(hidden_size=64, intermediate_size=32), 4, 8, 1e-4, 0.0),
    # another width of vision, two tower layers before the bridges, a decoder of its own, other activations and eps
    "scaled_add": (dict(hidden_size=30, num_hidden_layers=2, link_tower_type="scaled_add", hidden_act="gelu_new",
                        layer_norm_eps=1e-3, contrastive_hidden_size=20),
                   dict(hidden_size=64, num_hidden_layers=3, image_size=24, patch_size=8, layer_norm_eps=1e-4),
                   text(hidden_size=30, num_hidden_layers=3, num_attention_heads=3, hidden_act="relu", layer_norm_eps=1e-6,
                        tie_word_embeddings=False), 3, 11, 1e-4, 0.05),
    # two token types of which one serves, an odd width of the MLP
    "interpolate": (dict(hidden_size=24, num_hidden_layers=2, link_tower_type="interpolate", contrastive_hidden_size=8),
                    dict(hidden_size=64, num_hidden_layers=2, image_size=28, patch_size=14),
                    text(hidden_size=24, num_attention_heads=4, intermediate_size=37, type_vocab_size=2), 5, 7, 1e-4, 0.01),
    # one layer of everything and no link; two heads of vision
    "single": (dict(hidden_size=40, num_hidden_layers=1, contrastive_hidden_size=12),
               dict(hidden_size=128, num_hidden_layers=1, image_size=20, patch_size=10, layer_norm_eps=1e-6),
               text(hidden_size=40, num_hidden_layers=1, num_attention_heads=5, hidden_act="quick_gelu"), 2, 12, 2e-4, 0.0),
}
SHAPES = {
    "base": (dict(contrastive_hidden_size=512), {}, dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
    "large": (dict(hidden_size=1024, num_hidden_layers=6, contrastive_hidden_size=512),
              dict(hidden_size=1024, num_hidden_layers=24, patch_size=14, image_size=294),
              dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
                   hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
}


def set_realistic_weights(model):
    """Weights of the scale that training leaves, equal for equal names, exact in bfloat16."""
    deep = model.config.text_config.num_hidden_layers > 3  # where random attention would make all tokens alike
    for name, p in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(p.shape, generator=generator)
        if name == "logit_scale" or name.endswith(("scaled_factor", "beta")):
            value = p.data + 0.1 * noise
        elif p.ndim == 1 and "weight" in name and "class" not in name:
            value = 1 + 0.2 * noise
        elif "bias" in name:
            value = 0.2 * noise
        elif "embedding" in name and "patch" not in name:
            value = 0.5 * noise
        else:
            gain = 2.0 if "mlm_score.decoder" in name else 0.3 if deep and "attention.output.dense" in name else 1.2
            value = noise * gain / math.sqrt(p[0].numel())
        p.data.copy_(value.bfloat16())


def smooth_images(count, size, generator):
    """Images with low and high frequencies in every channel, as uint8 [count, size, size, 3]."""
    coarse = torch.rand((count, 3, 4, 4), generator=generator) * 255
    image = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    image += 25 * torch.randn(image.shape, generator=generator)
    return image.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def texts(batches, samples, tokens, vocab, generator):
    """Ids with right padding of every length, and what the heads learn from them."""
    ids = torch.randint(4, vocab - 1, (batches, samples, tokens), generator=generator)
    mask = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    masked = ids.clone()
    for b in range(batches):
        for i in range(samples):
            length = tokens if i == b else int(torch.randint(3, tokens + 1, (1,), generator=generator))
            ids[b, i, 0], ids[b, i, length - 1], ids[b, i, length:], mask[b, i, :length] = 0, 2, 1, 1
            masked[b, i] = ids[b, i]
            for t in range(1, length - 1):
                if i != 1 and (t == 1 or torch.rand((), generator=generator) < 0.3):  # one sample hides nothing
                    labels[b, i, t], masked[b, i, t] = ids[b, i, t], vocab - 1
    return dict(ids=ids, mask=mask, masked_ids=masked, masked_labels=labels,
                pair_labels=torch.randint(0, 2, (batches, samples), generator=generator))


def run(head, model, data, batch):
    mean, std = torch.tensor(MEAN).double(), torch.tensor(STD).double()
    pixels = ((data["images"][batch].double() / 255 - mean) / std).movedim(-1, -3).to(model.dtype)
    ids = data["masked_ids" if head == "mlm" else "ids"][batch]
    how = {"itm": dict(labels=data["pair_labels"][batch]), "itc": dict(return_loss=True),
           "mlm": dict(labels=data["masked_labels"][batch])}[head]
    return model(input_ids=ids, attention_mask=data["mask"][batch], pixel_values=pixels, **how)


def train(head, model, data, lr, weight_decay, steps):
    decayed = set(Trainer.get_decay_parameter_names(None, model))
    named = list(model.named_parameters())
    groups = [{"params": [p for n, p in named if n in decayed], "weight_decay": weight_decay},
              {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    schedule = get_linear_schedule_with_warmup(optimizer, WARMUP, steps)
    losses, norms = [], []
    for step in range(steps):
        loss = run(head, model, data, step % len(data["images"])).loss
        optimizer.zero_grad()
        loss.backward()
        norms.append(math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None)))
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        losses.append(loss.item())
        optimizer.step()
        schedule.step()
    return dict(losses=losses, grad_norms=norms, decayed=sorted(decayed))


def sampled(gradient):
    """About SAMPLED elements of a large gradient, evenly: every (n / SAMPLED | 1)-th."""
    flat = gradient.detach().float().flatten()
    return flat[:: flat.numel() // SAMPLED | 1].contiguous()


def outputs(head, out, data):
    if head == "mlm":
        return {"mlm_logits": out.logits.detach()[data["masked_labels"][0] != -100]}
    return {f"{head}_logits": out.logits.detach()}


def write_gradients(head, model, loss, folder):
    """Their norms go to expected.json."""
    loss.backward()
    named = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    save_file({n: sampled(g) for n, g in named.items()}, folder / f"grads_{head}.safetensors")
    norms = {n: float(f"{g.double().norm().item():.7g}") for n, g in named.items()}
    model.zero_grad(set_to_none=True)
    return dict(grad_norm=math.hypot(*norms.values()), norms=norms)


# double: the steps too; without gradients only outputs and losses are written
def make(folder, top, vision, words, images, tokens, lr, weight_decay, steps, double=True, gradients=True):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*"):
        old.unlink()
    config = BridgeTowerConfig(**top, vision_config=vision, text_config=words, logit_scale_init_value=2.6592)
    config.save_pretrained(folder)
    generator = torch.Generator().manual_seed(len(folder.name))
    data = dict(images=images, **texts(images.shape[0], images.shape[1], tokens, config.text_config.vocab_size, generator))
    tensors, report, found = {}, dict(training=dict(steps=steps, lr=lr, warmup=WARMUP, weight_decay=weight_decay, clip_norm=CLIP)), {}
    for head, kind in HEADS.items():
        if head == "itc" and config.hidden_size != config.vision_config.hidden_size:
            continue  # transformers' class cannot run it
        model = kind(config)
        set_realistic_weights(model)
        state = {n: p.detach().bfloat16().contiguous().clone() for n, p in model.named_parameters()}
        assert all(torch.equal(t, tensors.get(n, t)) for n, t in state.items())
        tensors.update(state)
        model = model.double().train()  # every dropout of the config is 0
        if head == "itm":
            with torch.no_grad():
                body = model.bridgetower(data["ids"][0], attention_mask=data["mask"][0], pixel_values=(
                    ((images[0].double() / 255 - torch.tensor(MEAN).double()) / torch.tensor(STD).double()).movedim(-1, -3).to(model.dtype)))
            found.update(text_features=body.text_features, image_features=body.image_features, pooler=body.pooler_output)
        with torch.set_grad_enabled(gradients):
            out = run(head, model, data, 0)
        found.update(outputs(head, out, data))
        report[head] = dict(loss=out.loss.item())
        say = f"{folder.name} {head}: loss {report[head]['loss']:.4f}"
        if not gradients:
            print(say, flush=True)
            del model, out
            continue
        report[head].update(write_gradients(head, model, out.loss, folder))
        say += f", gradient norm {report[head]['grad_norm']:.3f}"
        steps_in_double = train(head, model, data, lr, weight_decay, steps) if double else None
        del model, out
        twin = kind(config).train()
        set_realistic_weights(twin)
        single = train(head, twin, data, lr, weight_decay, steps)  # what float32 costs transformers itself
        del twin
        if double:
            off = max(abs(a / b - 1) for a, b in zip(single["losses"], steps_in_double["losses"]))
            say += f"; float32 is off by {off:.1e} in {steps} steps"
        report[head].update(steps_in_double or single)
        report["training"]["decayed"] = sorted(set(report["training"].get("decayed", []) + report[head].pop("decayed")))
        print(say, flush=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    integers = {k: (v if v.dtype == torch.uint8 else v.int()).contiguous() for k, v in data.items()}
    save_file({**integers, **{k: v.detach().float().contiguous() for k, v in found.items()}}, folder / "data.safetensors")
    (folder / "expected.json").write_text(json.dumps(report, separators=(",", ":")) + "\n")


def small_fixtures():
    for name, (top, vision, words, samples, tokens, lr, weight_decay) in MODELS.items():
        generator = torch.Generator().manual_seed(len(name))
        size = vision["image_size"]
        images = smooth_images(2 * samples, size, generator).view(2, samples, size, size, 3)
        make(HERE / f"bridgetower_{name}", top, vision, words, images, tokens, lr, weight_decay, STEPS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--no-gradients", action="store_true", help="outputs and losses only")
    args = parser.parse_args()
    if bool(args.shape) != bool(args.out):
        parser.error("--shape and --out go together")
    if args.shape:
        top, vision, words = SHAPES[args.shape]
        size = vision.get("image_size", 288)
        images = smooth_images(2 * args.batch, size, torch.Generator().manual_seed(1)).view(2, args.batch, size, size, 3)
        make(args.out, top, vision, words, images, args.tokens, 1e-5, 0.0, args.steps, double=False,
             gradients=not args.no_gradients)
    else:
        small_fixtures()
