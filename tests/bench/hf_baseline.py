#!/usr/bin/env python3
"""What the peers do on these cores in fp32: transformers (and for ViT OpenVINO where it is installed).

    python3 tests/bench/hf_baseline.py                       ViT-B/16-224, inference and training, batch 8 and 16
    python3 tests/bench/hf_baseline.py --threads 1 --modes train --batches 8 --json out.json
    python3 tests/bench/hf_baseline.py --model bridgetower-base --modes infer,train --batches 8 --text 50 --task itc

Every line comes from a process of its own, so that the peak memory is that case's. The matrix product rate is measured in
the same process before and after, because machines are shared: compare shares of it, or figures of one run.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

# Of one sample, all products and attention; of BridgeTower with contrastive heads and 50 text tokens.
FLOPS = {
    "vit-base": {"infer": 35.13e9, "openvino": 35.13e9, "train": 105.15e9},
    "bridgetower-base": {"infer": 116.17e9, "train": 348.13e9},
    "bridgetower-large": {"infer": 429.27e9, "train": 1287.27e9},
}


def matmul_rate(torch):
    """FLOP/s of the best of several products, a large square one and those of a ViT block."""
    best = 0
    for m, k, n in ((2048, 2048, 2048), (1576, 768, 3072), (1576, 3072, 768)):
        a, b = torch.randn(m, k), torch.randn(k, n)
        out = torch.empty(m, n)
        for _ in range(6):
            start = time.perf_counter()
            torch.mm(a, b, out=out)
            best = max(best, 2 * m * k * n / (time.perf_counter() - start))
    return best


def make_vit(transformers, attention):
    config = transformers.ViTConfig(num_labels=1000)
    config._attn_implementation = attention
    return transformers.ViTForImageClassification(config)


def make_bridgetower(transformers, args):
    """The shape of bridgetower-base or -large-itm-mlm-itc, random weights."""
    large = args.model == "bridgetower-large"
    width, layers = (1024, 24) if large else (768, 12)
    text = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // 64, intermediate_size=4 * width)
    vision = dict(hidden_size=width, num_hidden_layers=layers, patch_size=14 if large else 16,
                  image_size=294 if large else 288)
    config = transformers.BridgeTowerConfig(
        hidden_size=width, num_hidden_layers=6, num_attention_heads=width // 64, intermediate_size=4 * width,
        contrastive_hidden_size=512, logit_scale_init_value=2.6592, text_config=text, vision_config=vision)
    if args.task == "itc":
        return transformers.BridgeTowerForContrastiveLearning(config)
    return transformers.BridgeTowerForImageAndTextRetrieval(config)


def make_case(torch, transformers, args):
    """A model and the arguments of its call, with what makes it compute a loss in a dictionary of its own."""
    if args.model == "vit-base":
        model = make_vit(transformers, args.attention)
        return model, dict(pixel_values=torch.rand(args.batch, 3, 224, 224)), dict(
            labels=torch.randint(0, 1000, (args.batch,)))
    model = make_bridgetower(transformers, args)
    size = model.config.vision_config.image_size
    inputs = dict(pixel_values=torch.rand(args.batch, 3, size, size),
                  input_ids=torch.randint(4, 50000, (args.batch, args.text)),
                  attention_mask=torch.ones(args.batch, args.text, dtype=torch.long))
    loss = dict(return_loss=True) if args.task == "itc" else dict(labels=torch.randint(0, 2, (args.batch,)))
    return model, inputs, loss


def inference(torch, transformers, args):
    model, inputs, _ = make_case(torch, transformers, args)
    model.eval()

    def step():
        with torch.inference_mode():
            model(**inputs).logits
    return step


def training(torch, transformers, args):
    model, inputs, loss = make_case(torch, transformers, args)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)

    def step():
        model(**inputs, **loss).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return step


def openvino_inference(torch, transformers, args):
    import openvino
    images = torch.rand(args.batch, 3, 224, 224)
    converted = openvino.convert_model(make_vit(transformers, "eager").eval(), example_input=images,
                                       input=list(images.shape))
    core = openvino.Core()
    compiled = core.compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": args.threads})
    request, array = compiled.create_infer_request(), images.numpy()
    return lambda: request.infer([array])


def run_case(args):
    import torch
    import transformers
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    before = matmul_rate(torch)
    step = {"infer": inference, "train": training, "openvino": openvino_inference}[args.case](torch, transformers, args)
    times = []
    for i in range(args.warmup + args.steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    times = times[args.warmup:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    products = max(before, matmul_rate(torch))
    rate = args.batch / statistics.median(times)
    print(json.dumps({
        "model": args.model, "case": args.case, "batch": args.batch, "threads": args.threads, "samples_per_second": rate,
        "samples_per_second_best": args.batch / min(times), "flops_per_second": rate * FLOPS[args.model][args.case],
        "matmul_flops_per_second": products, "peak_memory_bytes": peak,
        "torch": torch.__version__, "transformers": transformers.__version__}))


def show(row):
    print(f"{row['case']:9} batch {row['batch']:3}  {row['samples_per_second']:7.2f} samples/s "
          f"(best {row['samples_per_second_best']:.2f})  {row['flops_per_second'] / 1e9:6.1f} GF/s  "
          f"{100 * row['flops_per_second'] / row['matmul_flops_per_second']:3.0f} % of "
          f"{row['matmul_flops_per_second'] / 1e9:.0f} GF/s products  {row['peak_memory_bytes'] / 1e6:6.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--model", default="vit-base", choices=tuple(FLOPS))
    parser.add_argument("--task", default="itc", choices=("itc", "itm"), help="of BridgeTower")
    parser.add_argument("--text", type=int, default=50, help="tokens of a text, BridgeTower")
    parser.add_argument("--modes", default="infer,openvino,train")
    parser.add_argument("--batches", default="8,16")
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--attention", default="sdpa", choices=("sdpa", "eager"))
    parser.add_argument("--json", help="append what the table says, one object a line, to this file")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        return run_case(args)
    env = dict(os.environ, OMP_NUM_THREADS=str(args.threads), HF_HUB_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    print(f"{args.model}, fp32, {args.threads} threads, {args.steps} steps after {args.warmup}, median (best)")
    for mode in args.modes.split(","):
        for batch in args.batches.split(","):
            command = [sys.executable, __file__, "--case", mode, "--batch", batch, "--threads", str(args.threads),
                       "--steps", str(args.steps), "--warmup", str(args.warmup), "--attention", args.attention,
                       "--model", args.model, "--task", args.task, "--text", str(args.text)]
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                print(f"{mode:9} batch {batch:>3}  not measured: {last}", flush=True)
                continue
            row = json.loads(done.stdout.strip().splitlines()[-1])
            show(row)
            if args.json:
                with open(args.json, "a") as f:
                    f.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
