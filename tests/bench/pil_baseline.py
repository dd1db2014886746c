#!/usr/bin/env python3
"""Pillow and numpy on one core, the peer of `viaduct bench loader --data.workers 0`: images per second from files.

  pil_baseline.py FOLDER [COUNT]     the first COUNT images (500) below FOLDER, best of three passes

Needs Pillow and numpy; a row more where transformers is installed.
"""
import io
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 500
files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))[:count]


def decode(path):
    return ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes()))).convert("RGB")


def resize(image):
    return image.resize((224, 224), Image.Resampling.BILINEAR)


def normalise(image):
    pixels = np.asarray(image, dtype=np.float32) * np.float32(1 / 255)
    return np.ascontiguousarray(((pixels - 0.5) / 0.5).transpose(2, 0, 1))


rows = {
    "decode": decode,
    "decode, resize": lambda f: resize(decode(f)),
    "decode, resize, normalise (numpy)": lambda f: normalise(resize(decode(f))),
}
try:
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor()
    rows["decode, ViTImageProcessor"] = lambda f: processor(decode(f))["pixel_values"][0]
except ImportError:
    pass

for name, run in rows.items():
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for file in files:
            run(file)
        best = min(best, time.perf_counter() - start)
    print(f"{name:36} {len(files) / best:8.0f} images/s {1e3 * best / len(files):8.3f} ms")
