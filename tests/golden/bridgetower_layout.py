#!/usr/bin/env python3
"""The tensors of transformers' (4.56) BridgeTower classes in the shapes of the public checkpoints, into bridgetower_layout.json.

Per shape: `config` as transformers writes it, `parameters` of each class (untied: with a decoder of its own), and what the
state dicts hold: `body` for all classes, `heads` of each. A name that many layers share is there once, with * for the layer
and the number of layers; without * the number is 1."""
import json
import pathlib
import re

import torch
from transformers import (BridgeTowerConfig, BridgeTowerForContrastiveLearning, BridgeTowerForImageAndTextRetrieval,
                          BridgeTowerForMaskedLM, BridgeTowerModel)

SHAPES = {
    "base": dict(contrastive_hidden_size=512, logit_scale_init_value=2.6592),
    "large": dict(hidden_size=1024, num_hidden_layers=6, num_attention_heads=16, contrastive_hidden_size=512,
                  logit_scale_init_value=2.6592,
                  vision_config=dict(hidden_size=1024, num_hidden_layers=24, patch_size=14, image_size=294),
                  text_config=dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)),
}
CLASSES = (BridgeTowerModel, BridgeTowerForImageAndTextRetrieval, BridgeTowerForContrastiveLearning, BridgeTowerForMaskedLM)


def saved(model):
    """Names and shapes that save_pretrained writes, a bare model's names with the prefix that the others have."""
    tied = model.get_output_embeddings() is not None and model.config.text_config.tie_word_embeddings
    prefix = "bridgetower." if isinstance(model, BridgeTowerModel) else ""
    return {prefix + name: tuple(t.shape) for name, t in model.state_dict().items()
            if not (tied and name in model._tied_weights_keys)}


def folded(tensors):
    rows = {}
    for name, shape in tensors.items():
        key = f"{re.sub(r'[.][0-9]+[.]', '.*.', name)} {list(shape)}"
        rows[key] = rows.get(key, 0) + 1
    return dict(sorted(rows.items()))


def layout(fields):
    out = dict(config=None, parameters={}, body=None, heads={})
    for cls in CLASSES:
        for untied in (False, True) if cls is BridgeTowerForMaskedLM else (False,):
            config = BridgeTowerConfig(**fields)
            config.text_config.tie_word_embeddings = not untied
            with torch.device("meta"):
                tensors = saved(cls(config))
            name = cls.__name__ + (" untied" if untied else "")
            out["parameters"][name] = sum(torch.Size(shape).numel() for shape in tensors.values())
            body = folded({n: s for n, s in tensors.items() if n.startswith("bridgetower.")})
            assert out["body"] in (None, body)
            out["body"] = body
            out["heads"][name] = folded({n: s for n, s in tensors.items() if not n.startswith("bridgetower.")})
    out["config"] = json.loads(BridgeTowerConfig(**fields).to_json_string())
    return out


if __name__ == "__main__":
    target = pathlib.Path(__file__).resolve().with_suffix(".json")
    target.write_text(json.dumps({name: layout(fields) for name, fields in SHAPES.items()}, indent=1) + "\n")
