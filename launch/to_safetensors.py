#!/usr/bin/env python3
"""Converts pickled weights (pytorch_model.bin, or its shards) of a model folder to model.safetensors, in that folder.

    python3 launch/to_safetensors.py FOLDER

Pickle can run code when it is read. Only tensors are unpickled here (torch's weights_only), which torch before 2.10 does
not do safely (CVE-2025-32434, CVE-2026-24747), so older versions are refused. Needs torch and safetensors.
"""
import json
import os
import pathlib
import sys


def weight_files(folder):
    index = folder / "pytorch_model.bin.index.json"
    if not index.exists():
        return [folder / "pytorch_model.bin"]
    names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    if any(pathlib.PurePath(name).name != name for name in names):
        sys.exit(f"{index}: expected file names without folders")
    return [folder / name for name in names]


def main(folder):
    import torch
    from safetensors.torch import save_file

    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 10):
        sys.exit(f"expected torch 2.10 or newer, found {torch.__version__}; see --help for why")
    target = folder / "model.safetensors"
    if target.exists():
        sys.exit(f"{target} is already there")
    tensors = {}
    for file in weight_files(folder):
        if not file.exists():
            sys.exit(f"{file}: there is no such file")
        loaded = torch.load(file, map_location="cpu", weights_only=True)
        loaded = loaded.get("state_dict", loaded)
        # Tied weights share memory, which safetensors refuses: each name gets a copy.
        tensors |= {name: t.detach().clone().contiguous() for name, t in loaded.items() if isinstance(t, torch.Tensor)}
    if not tensors:
        sys.exit(f"{folder}: expected tensors in the pickled weights, found none")
    temporary = target.with_name(f".{target.name}.tmp-{os.getpid()}")
    try:
        save_file(tensors, temporary, metadata={"format": "pt"})
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        temporary.rename(target)
    finally:
        temporary.unlink(missing_ok=True)
    print(f"{target}: {len(tensors)} tensors, {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    main(pathlib.Path(sys.argv[1]))
