"""What should the small text encoder count: words, subwords, or words and character n-grams?

    python benchmarks/text.py

Emoji names alone (the method `unimodal`), five seeds. Written to ``benchmarks/results/text.json``.
"""

from __future__ import annotations

import json
import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet
from mla import HERE
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import altuna
from altuna.comparison.summary import environment
from altuna.data.readers import text
from altuna.recipes.built_in import find_manifest

SEEDS = range(5)


def words(cell: str) -> Iterator[str]:
    yield from re.findall(r"\w+|[^\w\s]", cell.lower())


def subwords() -> Callable[[str], Iterator[str]]:
    """Byte-pair encoding with 2,000 tokens, learnt on the train split."""
    table = pyarrow.parquet.read_table(find_manifest("emoji"), columns=["split", "text"]).to_pylist()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    train = [row["text"].lower() for row in table if row["split"] == "train"]
    tokenizer.train_from_iterator(train, trainers.BpeTrainer(vocab_size=2000, show_progress=False))
    return lambda cell: iter(tokenizer.encode(cell.lower()).tokens)


def main() -> None:
    ways = {"words": words, "subwords": subwords(), "words and character n-grams": text._tokens}
    results = {}
    for name, way in ways.items():
        text._tokens = way
        accuracies = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                run = altuna.fit(
                    method={"name": "unimodal", "modality": "text"},
                    seed=seed,
                    out=Path(folder) / "run",
                    store=Path(folder) / "store",
                    quiet=True,
                )
                accuracies.append(json.loads((run / "metrics.json").read_text())["fused"]["accuracy"])
        results[name] = accuracies
        print(f"{name}: {statistics.mean(accuracies):.3f} ± {statistics.stdev(accuracies):.3f}", flush=True)
    said = {"environment": environment(), "test_accuracy": results}
    (HERE / "results" / "text.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
