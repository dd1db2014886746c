#!/usr/bin/env python3
"""Turns a Hugging Face dataset into what data.train and data.eval read: class folders with labels.csv, captions.jsonl or
pairs.jsonl.

    python3 launch/from_datasets.py beans OUT                      every split, a folder per class
    python3 launch/from_datasets.py NAME OUT --captions text       images and captions.jsonl
    python3 launch/from_datasets.py NAME OUT --pairs text          images and pairs.jsonl, a row per text
    python3 launch/from_datasets.py FOLDER OUT                     a dataset saved by save_to_disk

The cartoons of the New Yorker's caption contest, as BridgeTower is fine-tuned on them in `--config matching`:

    N=jmhessel/newyorker_caption_contest
    python3 launch/from_datasets.py $N OUT --config matching --captions image_description   contrastive, as published
    python3 launch/from_datasets.py $N OUT --config matching --pairs caption_choices        five pairs a row, one a match

A row of --pairs with a list of choices gives a pair for each, with label 1 for the right one: --label names the column
that says which (its text, its letter A, B, .. or its number from 0). A row with a single text has the label 0 or 1, or
none where no column is named label. Images keep their bytes as they are, and one that comes again is written once. Needs `pip install datasets`, and the network unless the dataset is local.
"""
import argparse
import csv
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import sys

SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"RIFF": ".webp"}


def image_bytes(value):
    """The encoded image and its suffix; formats that the program does not read become PNG."""
    data = value["bytes"] if value["bytes"] is not None else pathlib.Path(value["path"]).read_bytes()
    for start, suffix in SUFFIXES.items():
        if data.startswith(start):
            return data, suffix
    from PIL import Image
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).save(out, "PNG")
    return out.getvalue(), ".png"


def load_splits(args):
    from datasets import DatasetDict, load_dataset, load_from_disk
    if pathlib.Path(args.name, "dataset_info.json").exists() or pathlib.Path(args.name, "dataset_dict.json").exists():
        data = load_from_disk(args.name)
    else:
        data = load_dataset(args.name, args.config)
    splits = dict(data) if isinstance(data, DatasetDict) else {"train": data}
    if args.split:
        if missing := set(args.split) - set(splits):
            sys.exit(f"{args.name}: expected the split {', '.join(missing)}, found {', '.join(splits)}")
        splits = {name: splits[name] for name in args.split}
    return splits


def pick_column(features, wanted, kind, candidates, option):
    if wanted:
        if wanted not in features:
            sys.exit(f"expected a column '{wanted}' ({option}), found {', '.join(features)}")
        return wanted
    found = [c for c in candidates if c in features] or [c for c, f in features.items() if type(f).__name__ == kind]
    if not found:
        sys.exit(f"none of the columns {', '.join(features)} looks right: name one with {option}")
    return found[0]


def folder_name(label, taken):
    """A folder for the class: its name, without what a path cannot hold, and never that of another class."""
    base = name = re.sub(r"[^\w .,()+-]", "_", label).strip(" .")[:100] or "class"
    number = 1
    while taken.setdefault(name, label) != label:
        number += 1
        name = f"{base}_{number}"
    return name


def rows_of(splits, image, limit):
    """Split, number and content of the row, encoded image and the name of its file; equal images have one name."""
    from datasets import Image
    names = {}
    for split, rows in splits.items():
        rows = rows.cast_column(image, Image(decode=False))
        for number, row in enumerate(rows):
            if limit and number == limit:
                break
            if row[image] is None:
                print(f"{split} row {number} has no image: left out", file=sys.stderr)
                continue
            data, suffix = image_bytes(row[image])
            digest = hashlib.sha256(data).digest()
            yield split, number, row, data, names.setdefault(digest, f"{split}-{number:07d}{suffix}")


def write_classes(args, out, splits, image):
    features = next(iter(splits.values())).features
    column = pick_column(features, args.label, "ClassLabel", ["label", "labels", "fine_label"], "--label")
    names = getattr(features[column], "names", None)
    taken = {}
    with open(out / "labels.csv", "w", newline="", encoding="utf-8") as f:
        table = csv.writer(f)
        table.writerow(["file", "label", "split"])
        for split, _, row, data, name in rows_of(splits, image, args.limit):
            if row[column] is None or row[column] == -1:
                continue  # unlabelled test sets
            label = names[row[column]] if names else str(row[column])
            file = pathlib.PurePosixPath(folder_name(label, taken), name)
            (out / file.parent).mkdir(exist_ok=True)
            (out / file).write_bytes(data)
            table.writerow([file, label, split])
    return f"{len(taken)} classes"


def texts_of(value):
    """What is written, a list or not, without what is empty."""
    texts = value if isinstance(value, list) else [value]
    return [str(t) for t in texts if t is not None and str(t).strip()]


def write_rows(out, name, splits, image, limit, objects):
    """Images, and a line for every object that objects(row, where) gives; the number of lines."""
    (out / "images").mkdir()
    count = 0
    with open(out / name, "w", encoding="utf-8") as f:
        for split, number, row, data, file in rows_of(splits, image, limit):
            found = objects(row, f"{split} row {number}")
            if found and not (path := out / "images" / file).exists():
                path.write_bytes(data)
            for each in found:
                f.write(json.dumps({"image": f"images/{file}", **each, "split": split}, ensure_ascii=False) + "\n")
            count += len(found)
    return count


def write_captions(args, out, splits, image):
    column = pick_column(next(iter(splits.values())).features, args.captions, "", [], "--captions")

    def objects(row, _):
        captions = texts_of(row[column])
        return [{"captions": captions}] if captions else []
    return f"{write_rows(out, 'captions.jsonl', splits, image, args.limit, objects)} rows with captions"


def right_choice(answer, choices, where):
    """The index of the right one: said by its text, its letter or its number."""
    if answer in choices:
        return choices.index(answer)
    if isinstance(answer, str) and re.fullmatch("[A-Z]", answer):
        answer = ord(answer) - ord("A")
    if isinstance(answer, int) and 0 <= answer < len(choices):
        return answer
    sys.exit(f"{where}: expected the right one of {len(choices)} choices (its text, its letter or its number), found {answer!r}")


def write_pairs(args, out, splits, image):
    features = next(iter(splits.values())).features
    column = pick_column(features, args.pairs, "", [], "--pairs")
    label = pick_column(features, args.label, "", ["label"], "--label") if args.label or "label" in features else None

    def objects(row, where):
        if not isinstance(row[column], list):
            if label is not None and row[label] not in (0, 1):
                sys.exit(f"{where}: expected the label 0 or 1 in the column {label}, found {row[label]!r}")
            answer = {} if label is None else {"label": int(row[label])}
            return [{"text": t, **answer} for t in texts_of(row[column])]
        if label is None:
            return [{"text": t} for t in texts_of(row[column])]
        right = right_choice(row[label], row[column], where)
        return [{"text": str(t), "label": int(i == right)} for i, t in enumerate(row[column]) if texts_of(t)]
    return f"{write_rows(out, 'pairs.jsonl', splits, image, args.limit, objects)} pairs"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="dataset on the Hub, or a folder written by save_to_disk")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--config", help="configuration of the dataset")
    parser.add_argument("--split", action="append", help="only this split; may be repeated")
    parser.add_argument("--image", help="column with the images")
    parser.add_argument("--label", help="column with the classes, or with --pairs the one that says what matches")
    parser.add_argument("--captions", help="column with texts or lists of them: write captions.jsonl instead of classes")
    parser.add_argument("--pairs", help="column with texts or lists of choices: write pairs.jsonl, a row per text")
    parser.add_argument("--limit", type=int, default=0, help="at most so many rows of a split")
    args = parser.parse_args()
    if args.captions and args.pairs:
        parser.error("--captions and --pairs write different files: choose one")
    if args.out.exists() and any(args.out.iterdir()):
        sys.exit(f"{args.out}: expected a new or empty folder")
    splits = load_splits(args)
    image = pick_column(next(iter(splits.values())).features, args.image, "Image", ["image", "img"], "--image")
    staging = args.out.with_name(f".{args.out.name}.tmp-{os.getpid()}")  # the folder appears when it is complete
    staging.mkdir(parents=True)
    try:
        write = write_captions if args.captions else write_pairs if args.pairs else write_classes
        said = write(args, staging, splits, image)
        if args.out.exists():
            args.out.rmdir()
        staging.rename(args.out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    print(f"{args.out}: {said}, splits {', '.join(splits)}")


if __name__ == "__main__":
    main()
