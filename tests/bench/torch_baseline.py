#!/usr/bin/env python3
"""What PyTorch does on this device: transformers (and timm where it is installed), eager and torch.compile, in bf16.

    python3 tests/bench/torch_baseline.py --json torch.jsonl                    everything; minutes
    python3 tests/bench/torch_baseline.py --parts roofs,attention
    python3 tests/bench/torch_baseline.py --parts models --models vit-b-224 --modes train --batches 128,256
    python3 tests/bench/torch_baseline.py --device cpu --tiny                   proves that it works, measures nothing

Training: bf16 autocast over fp32 weights, SDPA where the model has it, clipping at norm 1, fused AdamW, inputs that are on
the device already. Inference: autocast, and weights in bf16. Rates are medians of steps, of the best of several batch sizes;
torch.compile is measured at the batch sizes that were best without it. Weights are random. Attention and the two roofs (a
product of 8192 x 8192 matrices, a copy of 1 GiB) are timed as replayed CUDA graphs over operands that do not fit the cache.
A line of JSON for every case, failed ones too, in SI units, and a table at the end.
"""
import argparse
import gc
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION,
            "efficient": SDPBackend.EFFICIENT_ATTENTION, "math": SDPBackend.MATH}
# name: (kind, width, layers, image, patch, text tokens, batch sizes of training, of inference)
MODELS = {
    "vit-b-224": ("vit", 768, 12, 224, 16, 0, (64, 128, 256, 512), (128, 256, 512, 1024)),
    "vit-b-384": ("vit", 768, 12, 384, 16, 0, (32, 64, 128), (64, 128, 256)),
    "vit-l-224": ("vit", 1024, 24, 224, 16, 0, (32, 64, 128, 256), (128, 256, 512)),
    "bridgetower-large-50": ("bridgetower", 1024, 24, 294, 14, 50, (16, 32, 48), (48, 96)),
    "bridgetower-large-128": ("bridgetower", 1024, 24, 294, 14, 128, (16, 32, 48), (48, 96)),
}
TIMM = {"vit-b-224": "vit_base_patch16_224", "vit-b-384": "vit_base_patch16_384", "vit-l-224": "vit_large_patch16_224"}
TINY = {"vit-tiny": ("vit", 64, 2, 32, 16, 0, (1, 2), (2,)),
        "bridgetower-tiny": ("bridgetower", 64, 2, 32, 16, 5, (2,), (2,))}


class Seconds:
    """The middle of many measurements: by events of the device, or by the clock where there is none."""

    def __init__(self, args):
        self.cuda, self.steps, self.warmup = args.device == "cuda", args.steps, args.warmup

    def once(self, f):
        if not self.cuda:
            start = time.perf_counter()
            f()
            return time.perf_counter() - start
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        f()
        stop.record()
        stop.synchronize()
        return start.elapsed_time(stop) * 1e-3

    def of_step(self, step):
        for _ in range(self.warmup):
            step()
        return statistics.median(self.once(step) for _ in range(self.steps))

    def of_call(self, calls):
        """Of one of `calls`, which do the same with other operands; together they are recorded and replayed as a graph."""
        def every():
            for call in calls:
                call()
        every()
        replay = every
        if self.cuda:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                every()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                every()
            replay = graph.replay
        return self.of_step(replay) / len(calls)


def sets_beyond_the_cache(args, bytes_of_a_set):
    cache = torch.cuda.get_device_properties(0).L2_cache_size if args.device == "cuda" else 1
    return min(16, max(1, math.ceil(2 * cache / bytes_of_a_set)))


def roofs(args, seconds):
    side = 64 if args.tiny else 8192
    a, b, c = (torch.randn(side, side, device=args.device, dtype=torch.bfloat16) for _ in range(3))
    took = seconds.of_call([lambda: torch.mm(a, b.t(), out=c)] * 10)
    yield {"case": "product", "side": side, "seconds": took, "flops_per_second": 2 * side**3 / took}
    source, target = (torch.zeros(side * side * 4, device=args.device) for _ in range(2))
    took = seconds.of_call([lambda: target.copy_(source)] * 4)
    yield {"case": "copy", "bytes": 2 * source.nbytes, "seconds": took, "bytes_per_second": 2 * source.nbytes / took}


def attention_case(args, seconds, backend, batch, tokens, heads, dim=64):
    """Forward and backward of one SDPA backend on a packed projection [B, T, 3, H, D], as models have it."""
    width = heads * dim
    sets = sets_beyond_the_cache(args, batch * tokens * width * 2 * 4)
    operands = []
    for _ in range(sets):
        qkv = torch.randn(batch, tokens, 3, heads, dim, device=args.device, dtype=torch.bfloat16)
        operands.append([t.transpose(1, 2).detach().requires_grad_() for t in qkv.unbind(2)])
    row = {"case": "attention", "backend": backend, "batch": batch, "tokens": tokens, "heads": heads, "head_dim": dim}
    flops = 4 * batch * heads * tokens**2 * dim  # backward: 4 products of 5, the scores that are computed again left out
    with sdpa_kernel(BACKENDS[backend]):
        with torch.no_grad():
            forward = seconds.of_call([lambda s=s: F.scaled_dot_product_attention(*s) for s in operands])
        yield row | {"pass": "forward", "seconds": forward, "flops_per_second": flops / forward}
        outputs = [F.scaled_dot_product_attention(*s) for s in operands]
        cotangents = [torch.randn_like(o) for o in outputs]
        backward = seconds.of_call([lambda o=o, s=s, d=d: torch.autograd.grad(o, s, d, retain_graph=True)
                                    for o, s, d in zip(outputs, operands, cotangents)])
        yield row | {"pass": "backward", "seconds": backward, "flops_per_second": 2 * flops / backward}


def attention(args, seconds):
    for heads in (1,) if args.tiny else (12, 16):
        for tokens in (5, 9) if args.tiny else (50, 197, 442, 577):
            for backend in BACKENDS:
                row = {"case": "attention", "backend": backend, "tokens": tokens, "heads": heads}
                yield from guarded(row, attention_case(args, seconds, backend, 2 if args.tiny else 64, tokens, heads))


def hf_model(shape, args):
    import transformers
    kind, width, layers, image, patch, *_ = shape
    size = dict(hidden_size=width, num_attention_heads=width // 64, intermediate_size=4 * width)
    if kind == "vit":
        config = transformers.ViTConfig(num_hidden_layers=layers, image_size=image, patch_size=patch, num_labels=1000, **size)
        config._attn_implementation = "sdpa"
        return transformers.ViTForImageClassification(config)
    config = transformers.BridgeTowerConfig(
        num_hidden_layers=min(layers, 6), contrastive_hidden_size=512, logit_scale_init_value=2.6592,
        text_config=dict(num_hidden_layers=layers, **size),
        vision_config=dict(hidden_size=width, num_hidden_layers=layers, patch_size=patch, image_size=image), **size)
    if args.task == "itm":
        return transformers.BridgeTowerForImageAndTextRetrieval(config)
    return transformers.BridgeTowerForContrastiveLearning(config)


def hf_inputs(shape, args, batch):
    kind, _, _, image, _, tokens, *_ = shape
    inputs = {"pixel_values": torch.randn(batch, 3, image, image, device=args.device)}
    if kind == "vit":
        return inputs, {"labels": torch.randint(0, 1000, (batch,), device=args.device)}
    inputs["input_ids"] = torch.randint(4, 50000, (batch, tokens), device=args.device)
    inputs["attention_mask"] = torch.ones(batch, tokens, dtype=torch.long, device=args.device)
    return inputs, {"labels": torch.randint(0, 2, (batch,), device=args.device)} if args.task == "itm" else {"return_loss": True}


class Timm(torch.nn.Module):
    """A model of timm with the calls of transformers."""

    def __init__(self, name):
        super().__init__()
        import timm
        self.model = timm.create_model(name, pretrained=False, num_classes=1000)

    def forward(self, pixel_values, labels=None):
        logits = self.model(pixel_values)
        return (logits,) if labels is None else (F.cross_entropy(logits, labels), logits)


def training_step(model, shape, args, batch):
    inputs, loss_inputs = hf_inputs(shape, args, batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(args.device, dtype=torch.bfloat16):
            loss = model(**inputs, **loss_inputs)[0]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return step


def inference_step(model, shape, args, batch, autocast):
    inputs, _ = hf_inputs(shape, args, batch)
    if not autocast:
        inputs["pixel_values"] = inputs["pixel_values"].bfloat16()

    def step():
        with torch.inference_mode(), torch.autocast(args.device, dtype=torch.bfloat16, enabled=autocast):
            model(**inputs)[0]
    return step


def free_memory():
    gc.collect()
    torch._dynamo.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def model_case(args, seconds, name, library, mode, compiled, batch):
    shape = args.shapes[name]
    model = (Timm(TIMM[name]) if library == "timm" else hf_model(shape, args)).to(args.device)
    model.train(mode == "train")
    if mode == "infer-bf16":
        model.bfloat16()
    if compiled:
        model = torch.compile(model, mode=args.compile_mode, dynamic=False)
    step = training_step(model, shape, args, batch) if mode == "train" else \
        inference_step(model, shape, args, batch, mode == "infer")
    took = seconds.of_step(step)
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else None
    yield {"seconds": took, "samples_per_second": batch / took, "peak_memory_bytes": peak}


def guarded(row, measured):
    """The rows of a case; a case that fails (memory, a backend that refuses) says why instead of ending the run."""
    try:
        for found in measured:
            yield row | found
    except Exception as e:  # noqa: BLE001: whatever a library throws
        yield row | {"error": f"{type(e).__name__}: {e}".split("\n")[0][:200]}


def models(args, seconds):
    for name in args.models:
        libraries = ["transformers"] + (["timm"] if has_timm() and name in TIMM else [])
        for library in libraries:
            for mode in args.modes:
                shape, best = args.shapes[name], []
                for compiled in (False, True):
                    batches = args.batches or shape[6 if mode == "train" else 7]
                    if compiled:  # those that were best without it
                        batches = [b for _, b in sorted(best, reverse=True)[:args.compile_batches]]
                    for batch in batches:
                        row = {"case": "model", "model": name, "library": library, "mode": mode,
                               "engine": "compile" if compiled else "eager", "batch": batch}
                        for found in guarded(row, model_case(args, seconds, name, library, mode, compiled, batch)):
                            if not compiled and "error" not in found:
                                best.append((found["samples_per_second"], batch))
                            yield found
                        free_memory()


def has_timm():
    try:
        import timm  # noqa: F401
    except ImportError:
        return False
    return True


def table(rows):
    lines = []
    for r in (r for r in rows if r["case"] in ("product", "copy")):
        lines.append(f"{r['case']:44} " + (f"{r['flops_per_second'] / 1e12:9.1f} TFLOP/s" if "flops_per_second" in r
                                           else f"{r['bytes_per_second'] / 1e9:9.0f} GB/s"))
    for r in (r for r in rows if r["case"] == "attention"):
        what = f"attention {r.get('pass', '')} {r['backend']}, {r['tokens']} tokens, {r['heads']} heads"
        lines.append(f"{what:44} " + (r["error"] if "error" in r else f"{r['flops_per_second'] / 1e12:9.1f} TFLOP/s"))
    best = {}
    for r in (r for r in rows if r["case"] == "model"):
        key = (r["model"], r["library"], r["mode"], r["engine"])
        if key not in best or r.get("samples_per_second", 0) > best[key].get("samples_per_second", 0):
            best[key] = r
    for key, r in best.items():
        lines.append(f"{' '.join(key):44} " + (r["error"] if "error" in r else
                                               f"{r['samples_per_second']:9.1f} samples/s at batch {r['batch']}"))
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = lambda text: [t for t in text.split(",") if t]  # noqa: E731
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tiny", action="store_true", help="sizes that prove that everything runs")
    parser.add_argument("--parts", type=names, default=["roofs", "attention", "models"])
    parser.add_argument("--models", type=names, help=", ".join(MODELS))
    parser.add_argument("--modes", type=names, default=["train", "infer", "infer-bf16"])
    parser.add_argument("--batches", type=lambda text: [int(t) for t in names(text)], help="instead of the model's own")
    parser.add_argument("--task", default="itc", choices=("itc", "itm"), help="of BridgeTower")
    parser.add_argument("--compile-mode", default="default")
    parser.add_argument("--compile-batches", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--json", help="file for the lines")
    args = parser.parse_args()
    args.shapes = TINY if args.tiny else MODELS
    args.models = args.models or list(args.shapes)
    for kind, given, known in (("part", args.parts, ("roofs", "attention", "models")), ("model", args.models, args.shapes),
                               ("mode", args.modes, ("train", "infer", "infer-bf16"))):
        for name in given:
            if name not in known:
                parser.error(f"unknown {kind} '{name}'; expected {', '.join(known)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU; --device cpu --tiny proves that the script works")
    return args


def main():
    args = arguments()
    torch.manual_seed(0)
    device = torch.cuda.get_device_name(0) if args.device == "cuda" else "cpu"
    common = {"device": device, "torch": torch.__version__}
    out = open(args.json, "a") if args.json else None
    rows = []
    for part in args.parts:
        for row in {"roofs": roofs, "attention": attention, "models": models}[part](args, Seconds(args)):
            rows.append(row)
            line = json.dumps(common | row)
            print(line, flush=True)
            if out:
                print(line, file=out, flush=True)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
