#!/usr/bin/env python3
"""What Pillow, transformers' image processors and torchvision make of images of every odd kind, for
tests/data/preprocess_test.cpp.

  preprocess.py images            draws tests/golden/images and tests/golden/hostile anew
  preprocess.py expected [DATA]   writes preprocess.tsv for them, and preprocess_photos.tsv for 50 photographs of DATA

Needs Pillow 13, numpy, and transformers and torchvision for `expected`. Every line of a .tsv: path, height, width, and
CRC-32 of the decoded RGB, of ViTImageProcessor's 224 x 224 (bilinear), of Pillow's bicubic 61 x 37, of its box 40 x 90,
of BridgeTowerImageProcessor's output for shortest_edge 288 and 294 ("-" where it fails), and of torchvision's Resize and
CenterCrop on the uint8 tensor: bicubic 288 and 294, bilinear 224.
"""
import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

HERE = Path(__file__).resolve().parent
IMAGES, HOSTILE = HERE / "images", HERE / "hostile"


def scene(width, height, seed=0):
    """Smooth colours, a sharp edge and a little grain: every kernel and every chroma filter has something to do."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(0.3, 2.5, (3, 3))]
    picture = 128 + 90 * np.stack(waves, -1)
    picture[(x - 0.5) ** 2 + (y - 0.35) ** 2 < 0.03] = rng.uniform(0, 255, 3)
    picture[(x > 0.7) & (y > 0.2) & (y < 0.5)] = rng.uniform(0, 255, 3)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def jpeg(name, image, patch=None, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    data = bytearray(out.getvalue())
    if patch:
        data = patch(data)
    (IMAGES / name).write_bytes(data)


def segments(data):
    """(offset, marker, length) of the segments before the first scan."""
    at = 2
    while data[at + 1] != 0xDA:
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        yield at, data[at + 1], length
        at += 2 + length


def with_sampling(factor):
    """Another sampling factor for the first component; the number of MCUs and their blocks must stay."""

    def patch(data):
        for at, marker, _ in segments(data):
            if marker in (0xC0, 0xC2):
                data[at + 11] = factor
        return data

    return patch


def with_adobe(transform):
    """Adobe's colour transform changed, or its marker removed (None)."""

    def patch(data):
        for at, marker, length in segments(data):
            if marker == 0xEE:
                if transform is None:
                    return data[:at] + data[at + 2 + length :]
                data[at + 15] = transform
        return data

    return patch


def orientation_exif(value, order="<", long=False):
    entry = struct.pack(order + "HHI", 0x0112, 4 if long else 3, 1)
    entry += struct.pack(order + "I", value) if long else struct.pack(order + "HH", value, 0)
    other = struct.pack(order + "HHI4s", 0x0110, 2, 4, b"cam\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    return b"Exif\0\0" + head + struct.pack(order + "H", 2) + other + entry + struct.pack(order + "I", 0)


def xmp(value):
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def jpegs():
    photo = Image.fromarray(scene(97, 71))
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        jpeg(f"jpeg_{name}.jpg", photo, subsampling=sampling, quality=85)
    square = Image.fromarray(scene(64, 64, 1))
    jpeg("jpeg_440.jpg", square, with_sampling(0x12), subsampling=1)
    jpeg("jpeg_411.jpg", square, with_sampling(0x41), subsampling=2)
    jpeg("jpeg_grey.jpg", photo.convert("L"))
    jpeg("jpeg_progressive.jpg", photo, progressive=True)
    jpeg("jpeg_progressive_grey.jpg", photo.convert("L"), progressive=True)
    jpeg("jpeg_quality_100.jpg", photo, quality=100, subsampling=0)
    jpeg("jpeg_quality_5.jpg", photo, quality=5)
    jpeg("jpeg_restarts.jpg", photo, restart_marker_blocks=3)
    jpeg("jpeg_optimised.JPEG", photo, optimize=True)
    jpeg("jpeg_comment_icc.jpg", photo, comment=b"a comment", icc_profile=bytes(range(256)) * 4)
    jpeg("jpeg_rgb.jpg", photo, keep_rgb=True)
    jpeg("jpeg_adobe_rgb.jpg", photo.convert("CMYK").convert("RGB"), None, quality=70)
    cmyk = Image.merge("CMYK", [Image.fromarray(c) for c in np.moveaxis(scene(63, 50, 2), -1, 0)] + [photo.convert("L").resize((63, 50))])
    jpeg("jpeg_cmyk.jpg", cmyk)
    jpeg("jpeg_ycck.jpg", cmyk, with_adobe(2))
    jpeg("jpeg_cmyk_no_adobe.jpg", cmyk, with_adobe(None))
    jpeg("jpeg_cmyk_progressive.jpg", cmyk, progressive=True)
    for value in range(1, 9):
        jpeg(f"exif_{value}.jpg", Image.fromarray(scene(46, 30, 3)), exif=orientation_exif(value), quality=60)
    jpeg("exif_big_endian_long.jpg", Image.fromarray(scene(46, 30, 3)), exif=orientation_exif(8, ">", True), quality=60)
    jpeg("exif_0.jpg", Image.fromarray(scene(46, 30, 3)), exif=orientation_exif(0), quality=60)
    jpeg("exif_in_xmp.jpg", Image.fromarray(scene(46, 30, 3)), xmp=xmp(6), quality=60)
    jpeg("size_1x1.jpg", Image.fromarray(scene(1, 1)))
    jpeg("size_1x200.jpg", Image.fromarray(scene(200, 1)))
    jpeg("size_300x1.jpg", Image.fromarray(scene(1, 300)))
    jpeg("size_3x17.jpg", Image.fromarray(scene(17, 3)))
    jpeg("size_tall.jpg", Image.fromarray(scene(12, 900)), quality=40)
    jpeg("size_wide.jpg", Image.fromarray(scene(900, 12)), quality=40)
    jpeg("size_large.jpg", Image.fromarray(scene(2600, 1733)), quality=6)
    jpeg("size_vertical_first.jpg", Image.fromarray(scene(250, 300)), quality=50)  # on either side of Pillow's rule
    jpeg("size_horizontal_first.jpg", Image.fromarray(scene(250, 276)), quality=50)
    jpeg("size_224.jpg", Image.fromarray(scene(224, 224)), quality=50)
    jpeg("size_224x300.jpg", Image.fromarray(scene(300, 224)), quality=50)


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def png(samples, depth, colour, interlaced=False, before=(), after=()):
    """A PNG of any legal kind, unfiltered; `samples` is [height, width, channels]."""

    def pack(rows):
        out = b""
        for row in rows.reshape(rows.shape[0], -1):
            if depth == 16:
                out += b"\0" + row.astype(">u2").tobytes()
            elif depth == 8:
                out += b"\0" + row.astype(np.uint8).tobytes()
            else:
                bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
                out += b"\0" + np.packbits(bits.astype(np.uint8).reshape(-1)).tobytes()
        return out

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = samples.shape[:2]
    raw = b"".join(pack(samples[y::dy, x::dx]) for x, y, dx, dy in ADAM7 if samples[y::dy, x::dx].size) if interlaced else pack(samples)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    out += b"".join(chunk(k, d) for k, d in before) + chunk(b"IDAT", zlib.compress(raw, 9))
    return out + b"".join(chunk(k, d) for k, d in after) + chunk(b"IEND", b"")


def pngs():
    def write(name, *args, **options):
        (IMAGES / f"png_{name}.png").write_bytes(png(*args, **options))

    colour, rng = scene(41, 29, 4), np.random.default_rng(5)
    grey, alpha = colour[..., :1], scene(41, 29, 6)[..., :1]
    wide = (colour.astype(np.uint16) << 8) + rng.integers(0, 256, colour.shape)
    dim = wide[..., :1] >> 7  # half of the values of a 16-bit grey picture above 255, half below
    for depth in (1, 2, 4):
        write(f"grey{depth}", grey >> 8 - depth, depth, 0)
    write("grey8", grey, 8, 0)
    write("grey16", dim, 16, 0)
    write("grey16_interlaced", dim, 16, 0, True)
    write("grey8_transparent", grey, 8, 0, before=[(b"tRNS", struct.pack(">H", int(grey[0, 0, 0])))])
    write("grey16_transparent", dim, 16, 0, before=[(b"tRNS", struct.pack(">H", int(dim[0, 0, 0])))])
    write("grey4_transparent", grey >> 4, 4, 0, before=[(b"tRNS", struct.pack(">H", 3))])
    write("grey_alpha8", np.concatenate([grey, alpha], -1), 8, 4)
    write("grey_alpha16", np.concatenate([wide[..., :1], wide[..., 1:2]], -1), 16, 4)
    write("rgb8", colour, 8, 2)
    write("rgb8_interlaced", colour, 8, 2, True)
    write("rgb8_transparent", colour, 8, 2, before=[(b"tRNS", struct.pack(">HHH", *map(int, colour[0, 0])))])
    write("rgb8_gamma_background", colour, 8, 2, before=[(b"gAMA", struct.pack(">I", 100000)), (b"bKGD", struct.pack(">HHH", 1, 2, 3))])
    write("rgb16", wide, 16, 2)
    write("rgba8", np.concatenate([colour, alpha], -1), 8, 6)
    write("rgba16", np.concatenate([wide, wide[..., :1]], -1), 16, 6)
    write("rgba8_interlaced", np.concatenate([colour, alpha], -1), 8, 6, True)
    for depth in (1, 2, 4, 8):
        palette = rng.integers(0, 256, (2**depth, 3), dtype=np.uint8).tobytes()
        write(f"palette{depth}", grey >> 8 - depth, depth, 3, before=[(b"PLTE", palette)])
    write("palette_transparent", grey >> 4, 4, 3, before=[(b"PLTE", bytes(range(48))), (b"tRNS", bytes(range(0, 160, 10)))])
    write("palette_short", grey >> 4, 4, 3, before=[(b"PLTE", rng.integers(0, 256, 30, dtype=np.uint8).tobytes())])
    write("palette_interlaced", grey >> 4, 4, 3, True, before=[(b"PLTE", rng.integers(0, 256, 48, dtype=np.uint8).tobytes())])
    tiff = orientation_exif(5)[6:]
    write("exif", colour, 8, 2, before=[(b"eXIf", tiff)])
    write("exif_after_pixels", colour, 8, 2, after=[(b"eXIf", tiff)])
    write("exif_in_xmp", colour, 8, 2, before=[(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(3))])
    raw = orientation_exif(7)
    profile = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
    write("exif_raw_profile", colour, 8, 2, before=[(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile))])
    write("1x1", colour[:1, :1], 8, 2)


def webps():
    colour, alpha = scene(61, 43, 7), scene(61, 43, 8)[..., :1]
    rgb, rgba = Image.fromarray(colour), Image.fromarray(np.concatenate([colour, alpha], -1))

    def write(name, image, **options):
        image.save(IMAGES / f"webp_{name}.webp", "WEBP", **options)

    write("lossy", rgb, quality=80)
    write("lossy_low", rgb, quality=5)
    write("lossless", rgb, lossless=True)
    write("alpha_lossy", rgba, quality=70)
    write("alpha_lossless", rgba, lossless=True, exact=True)
    write("exif", rgb, quality=60, exif=orientation_exif(6))
    write("xmp", rgb, quality=60, xmp=xmp(8))
    write("1x1", rgb.crop((0, 0, 1, 1)))
    write("animated", rgb, save_all=True, append_images=[Image.fromarray(scene(61, 43, s)) for s in (9, 10)], duration=100)
    blank = Image.new("RGBA", (61, 43))  # an animation whose first frame covers a part of the canvas
    blank.paste(rgba.crop((10, 6, 40, 30)), (10, 6))
    write("animated_part", blank, save_all=True, append_images=[rgba], duration=100, minimize_size=True)


def hostile():
    """Files that cannot be made by cutting or changing a good one in the test."""
    tiny = scene(8, 8)

    def write(name, header_size=None, **options):
        data = bytearray(png(tiny, 8, 2, **options))
        if header_size:
            data[16:24] = struct.pack(">II", *header_size)
            data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        (HOSTILE / name).write_bytes(data)

    write("png_65500.png", (65500, 65500))
    write("png_claims_100_megapixels.png", (10000, 10000))
    write("png_2_billion.png", (2**31 - 1, 2**31 - 1))
    write("png_text_bomb.png", before=[(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(30_000_000), 9))])
    out = io.BytesIO()
    Image.fromarray(tiny).save(out, "JPEG")
    data = bytearray(out.getvalue())
    for at, marker, _ in segments(data):
        if marker == 0xC0:
            data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    (HOSTILE / "jpeg_65500.jpg").write_bytes(data)


def crc(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def bridgetower(image, edge):
    """The pixels of the slow processor; None where a side would become 0."""
    from transformers import BridgeTowerImageProcessor

    processor = BridgeTowerImageProcessor(size={"shortest_edge": edge}, do_rescale=False, do_normalize=False)
    try:
        pixels = processor(image, input_data_format="channels_last", data_format="channels_last")["pixel_values"][0]
    except ValueError as error:
        assert "height and width must be > 0" in str(error), error
        return None
    assert pixels.dtype == np.uint8 and pixels.shape == (edge, edge, 3)
    return pixels


def torchvision(image, size, interpolation):
    """The first two steps of the published script, on what read_image gives."""
    import torch
    from torchvision.transforms import CenterCrop, InterpolationMode, Resize

    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    resize = Resize([size], interpolation=InterpolationMode(interpolation), antialias=True)
    return CenterCrop(size)(resize(tensor)).permute(1, 2, 0).numpy()


def write_expected(out, root, files):
    from transformers import ViTImageProcessor

    processor = ViTImageProcessor(do_rescale=False, do_normalize=False)
    with open(out, "w") as tsv:
        for file in files:
            image = ImageOps.exif_transpose(Image.open(root / file)).convert("RGB")
            # The data format is said because the processor takes an image of 1 or 3 rows for one with channels first.
            pixels = processor(image, input_data_format="channels_last", data_format="channels_last")["pixel_values"][0]
            assert pixels.dtype == np.uint8 and pixels.shape == (224, 224, 3)
            row = [file, image.height, image.width, crc(image), crc(pixels)]
            row += [crc(image.resize((37, 61), Image.Resampling.BICUBIC)), crc(image.resize((90, 40), Image.Resampling.BOX))]
            row += ["-" if pixels is None else crc(pixels) for pixels in (bridgetower(image, 288), bridgetower(image, 294))]
            row += [crc(torchvision(image, *case)) for case in ((288, "bicubic"), (294, "bicubic"), (224, "bilinear"))]
            print(*row, sep="\t", file=tsv)


def main():
    if sys.argv[1] == "images":
        for folder in (IMAGES, HOSTILE):
            folder.mkdir(exist_ok=True)
        jpegs(), pngs(), webps(), hostile()
    else:
        write_expected(HERE / "preprocess.tsv", IMAGES, sorted(p.name for p in IMAGES.iterdir()))
        if len(sys.argv) > 2:
            data = Path(sys.argv[2])
            photos = sorted(p for p in data.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
            grey = [p for p in photos if Image.open(p).mode != "RGB" or p.suffix == ".png"][:10]
            chosen = sorted({*grey, *photos[:: len(photos) // 40][:40]})
            write_expected(HERE / "preprocess_photos.tsv", data, [str(p.relative_to(data)) for p in chosen])


main()
