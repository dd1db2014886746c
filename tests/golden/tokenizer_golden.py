#!/usr/bin/env python3
"""What transformers' RobertaTokenizerFast makes of 10,000 texts of every odd kind, for tests/data/tokenizer_test.cpp.

  tokenizer_golden.py FOLDER    writes tokenizer/ anew; FOLDER holds RoBERTa's own vocab.json and merges.txt

Needs transformers 4.56 (tokenizers 0.22) and xxhash. See README.md for what the files hold.
"""
import json
import os
import random
import shutil
import sys
from pathlib import Path

import numpy as np
import xxhash
from tokenizers import AddedToken, ByteLevelBPETokenizer
from transformers import AutoTokenizer, RobertaTokenizerFast

HERE = Path(__file__).resolve().parent / "tokenizer"
R = random.Random(20)
TEXTS = 10000
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = """a the of on in with and to is are at near two three man woman people child dog cat horse bird street
 sign table train bus car boat kitchen plate pizza banana giraffe elephant umbrella surfboard skateboard snowboard
 tennis baseball frisbee riding holding standing sitting playing walking looking flying large small red green blue
 yellow white black wooden old young front side top left right next behind under above water beach grass field snow
 photograph antidisestablishmentarianism refrigerator straightforward internationalisation Zurich Łódź naïve café
 façade über Straße smörgåsbord Ελλάδα Москва слово שלום עולם مرحبا بالعالم नमस्ते दुनिया 你好 世界 こんにちは カタカナ
 안녕하세요 สวัสดี ជំរាបសួរ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁnal ǅungla ʼn I'm don't we'll they've you're he'd she's it's O'Neill""".split()
SPACES = [*"\t\n\v\f\r \x85\xa0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000",
          *"\x1c\x1d\x1e\x1f\u200b\u180e\ufeff\u2060"]  # the second line: not White_Space
NEAR_SPECIALS = [*SPECIALS, *SPECIALS, "<cap>", "<note>", "<cap", "<mask", "< mask>", "<<s>", "<MASK>", "<s><mask>", "</s"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'Re", "’s", "''", "'", "'l", "'r", "' s"]
ODD = ["👨‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇩🇪", "1️⃣", "e\u0301", "a\u0300\u0323", "\u0301", "½", "Ⅳ", "²", "٣", "\u200d", "\u200f",
       "\ufe0f", "\0", "\x07", "\x7f", "\u00ad", "\ufffd", "\ufffe", "\U0010ffff", "\ue000",
       # letters and digits of Unicode 15 and 16
       "\u1c89", "\ua7cb", "\U000105c0", "\U00010d40", "\U00010d4a", "\U00011bf0", "\U00011f50", "\U00013460",
       "\U0001e4d0", "\U00031350", "\U0002ebf0"]
CODE = ["def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\t\ta[i] += b[i];\n}", "SELECT * FROM t WHERE a='b';",
        "https://example.org/a?b=c&d=%20#e", "C:\\dir\\file.txt", "x->y::z", "#!/bin/sh", "{\"k\": [1, 2.5e-3, null]}",
        "a@b.co", "/* ... */", "<p class=\"x\">text</p>", "$\\frac{1}{2}$", "1,234,567.89", "2024-02-29T12:34:56Z"]
BLOCKS = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x6FF), (0x900, 0xDFF), (0xE00, 0xFFF),
          (0x1000, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xE000, 0xFFFF),
          (0x10000, 0x1FFFF), (0x1F300, 0x1FAFF), (0x20000, 0x323AF), (0xE0000, 0xE01EF), (0, 0x10FFFF)]
BAD_BYTES = [0x80, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE2, 0x82, 0xED, 0xA0, 0xEF, 0xF0, 0x90, 0xF4, 0xF5, 0xFF]


def characters(n):
    low, high = R.choice(BLOCKS)
    return "".join(chr(c) for c in (R.randint(low, high) for _ in range(n)) if not 0xD800 <= c < 0xE000)


def sentence():
    words = [R.choice(WORDS) for _ in range(R.randint(3, 12))]
    return (" ".join(words) + R.choice(["", ".", "!", " ?", "..."])).capitalize()


PIECES = [lambda: R.choice(WORDS), lambda: R.choice(WORDS).upper(), lambda: " ", lambda: R.choice(SPACES) * R.choice([1, 1, 2, 3, 7]),
          lambda: R.choice(NEAR_SPECIALS), lambda: R.choice(CONTRACTIONS), lambda: characters(R.randint(1, 6)),
          lambda: str(R.randint(0, 10 ** R.randint(1, 9))), lambda: R.choice(ODD), lambda: R.choice(WORDS)]


def text():
    kind = R.randrange(12)
    if kind < 3:
        return sentence()
    if kind == 3:
        return R.choice(CODE) + R.choice(["", "\n", " " + R.choice(CODE)])
    if kind == 4:
        return characters(R.randint(1, 25))
    return R.choice(["", "", " "]).join(R.choice(PIECES)() for _ in range(R.randint(0, 11)))


def damaged(data):
    data = bytearray(data)
    for _ in range(R.randint(1, 4)):
        at = R.randint(0, len(data))
        if R.random() < 0.5:
            data[at:at] = bytes(R.choice(BAD_BYTES) for _ in range(R.randint(1, 3)))
        else:
            del data[at : at + 1]
    return bytes(data)


def samples():
    """(bytes, how often they are repeated)"""
    for unit, times in [("a", 30000), (" ", 30000), ("\n ", 9000), ("🙂", 5000), ("ab", 9000), ("1", 9000), ("'", 9999),
                        ("é", 4000), ("<mask>", 900), ("<mask", 900), ("the quick ", 2000), ("一", 3000), ("\xa0", 3000)]:
        yield unit.encode(), times
    for block in range(0x80, 0x3200, 0x20):
        yield "".join(map(chr, range(block, block + 0x20))).encode(), 1
    while True:
        data = text().encode()
        yield damaged(data) if R.random() < 0.08 else data, 1


def make_tiny(folder):
    """A vocabulary of 700 tokens, as vocab.json + merges.txt in tiny/, as tokenizer.json with two more tokens in fast/."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator([sentence() for _ in range(3000)], vocab_size=700 - 1, special_tokens=SPECIALS[:4], show_progress=False)
    (folder / "tiny").mkdir(parents=True)
    trained.save_model(str(folder / "tiny"))
    path = folder / "tiny" / "vocab.json"
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    vocabulary["<mask>"] = len(vocabulary)
    path.write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    tiny = RobertaTokenizerFast.from_pretrained(folder / "tiny")
    fast = RobertaTokenizerFast.from_pretrained(folder / "tiny")
    fast.add_tokens([AddedToken("<cap>", rstrip=True, normalized=True), AddedToken("<note>", lstrip=True, rstrip=True, normalized=False)])
    fast.save_pretrained(folder / "fast")
    for name in ["vocab.json", "merges.txt", "added_tokens.json"]:
        (folder / "fast" / name).unlink(missing_ok=True)
    return tiny, AutoTokenizer.from_pretrained(folder / "fast")


def main(folder):
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    shutil.rmtree(HERE, ignore_errors=True)
    tiny, fast = make_tiny(HERE)
    tokenizers = {"roberta": RobertaTokenizerFast.from_pretrained(folder), "tiny": tiny, "fast": fast}
    with open(HERE / "texts.jsonl", "w", encoding="utf-8") as out:
        for number, (data, times) in zip(range(TEXTS), samples()):
            try:
                row = {"text": data.decode()}
            except UnicodeDecodeError:
                row = {"bytes": data.hex()}
            if times > 1:
                row["times"] = times
            for name, tokenizer in tokenizers.items():
                ids = tokenizer((data * times).decode("utf-8", "replace"))["input_ids"]
                row[name] = xxhash.xxh3_64_hexdigest(np.array(ids, "<i4").tobytes())[:8]
                if name == "roberta" and number > 500 and number % 30 == 0:
                    row["ids"] = ids
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


main(sys.argv[1])
