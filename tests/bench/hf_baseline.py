#!/usr/bin/env python3
"""What the peers do on these cores: ViT-B/16-224 in fp32 with transformers (and OpenVINO where it is installed).

    python3 tests/bench/hf_baseline.py                       inference and training, batch 8 and 16, all allowed cores
    python3 tests/bench/hf_baseline.py --threads 1 --modes train --batches 8 --json out.json

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

FLOPS = {"infer": 35.13e9, "openvino": 35.13e9, "train": 105.15e9}  # of one image: all products and attention


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


def make_model(transformers, attention):
    config = transformers.ViTConfig(num_labels=1000)
    config._attn_implementation = attention
    return transformers.ViTForImageClassification(config)


def inference(torch, transformers, args):
    model = make_model(transformers, args.attention).eval()
    images = torch.rand(args.batch, 3, 224, 224)

    def step():
        with torch.inference_mode():
            model(images).logits
    return step


def training(torch, transformers, args):
    model = make_model(transformers, args.attention).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    images, labels = torch.rand(args.batch, 3, 224, 224), torch.randint(0, 1000, (args.batch,))

    def step():
        model(images, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return step


def openvino_inference(torch, transformers, args):
    import openvino
    images = torch.rand(args.batch, 3, 224, 224)
    converted = openvino.convert_model(make_model(transformers, "eager").eval(), example_input=images,
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
        "case": args.case, "batch": args.batch, "threads": args.threads, "samples_per_second": rate,
        "samples_per_second_best": args.batch / min(times), "flops_per_second": rate * FLOPS[args.case],
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
    print(f"ViT-B/16-224, fp32, {args.threads} threads, {args.steps} steps after {args.warmup}, median (best)")
    for mode in args.modes.split(","):
        for batch in args.batches.split(","):
            command = [sys.executable, __file__, "--case", mode, "--batch", batch, "--threads", str(args.threads),
                       "--steps", str(args.steps), "--warmup", str(args.warmup), "--attention", args.attention]
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
