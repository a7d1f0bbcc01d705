"""The scikit-learn learners of ``peers.py``, one per process: ``peer_learners.py ARRAYS JOB FOLDER``.

A learner is fitted per modality and their log-probabilities averaged (``late``), on all columns together
(``concatenated``), or per modality with a logistic regression on out-of-fold log-probabilities (``stacked``).
Each is tuned by the NLL of the validation rows over its ``grid``, and gets a temperature there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from peer_process import FLOOR, Array, Fits, best_temperature, nll, normalised, serve
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

WIDE = 300  # columns of a modality from which on all but logistic regression take principal components
META_C = (0.01, 0.1, 1.0)


def svm(seed: int, gamma: float, **options: Any) -> Any:
    """Return an SVM with probabilities: a temperature of its scores, cross-validated on the fitting rows."""
    return CalibratedClassifierCV(SVC(gamma=gamma, **options), method="temperature", ensemble=False)


class Learner(NamedTuple):
    """A learner: how to build it, its grid, and how many principal components of a wide modality it takes."""

    build: Callable[..., Any]
    grid: dict[str, tuple[Any, ...]]
    components: int | None = None

    def options(self) -> list[dict[str, Any]]:
        return [
            dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())
        ]


# Modalities have unit mean squared norm, hence the large C.
LEARNERS = {
    "logistic regression": Learner(
        lambda seed, **options: LogisticRegression(max_iter=2000, **options),
        {"C": (1.0, 10.0, 100.0, 1000.0)},
    ),
    "svm": Learner(svm, {"C": (1.0, 10.0, 100.0), "gamma": (0.3, 1.0, 3.0)}, components=300),
    "extra trees": Learner(
        lambda seed, **options: ExtraTreesClassifier(300, random_state=seed, **options),
        {"min_samples_leaf": (1, 3), "max_features": ("sqrt", 0.3)},
        components=300,
    ),
    "gradient boosting": Learner(
        lambda seed, **options: HistGradientBoostingClassifier(
            early_stopping=False, random_state=seed, **options
        ),
        {"max_iter": (40, 120), "max_leaf_nodes": (7, 31)},
        components=100,
    ),
}


def represent(
    arrays: Mapping[str, Array], job: Mapping[str, Any], rows: Array, components: int | None
) -> list[Array]:
    """Return [all rows, columns] of each modality, scaled as the fitting ``rows`` say."""
    found = []
    for parts in job["modalities"].values():
        blocks = []
        for name, vectorizer in parts.items():
            x = arrays[f"x/{name}"]
            if vectorizer:
                options = {**vectorizer, "ngram_range": tuple(vectorizer["ngram_range"])}
                words = TfidfVectorizer(sublinear_tf=True, min_df=2, **options).fit(x[rows])
                blocks.append(words.transform(x).toarray().astype(np.float32))
            else:
                blocks.append(StandardScaler().fit(x[rows]).transform(x) / np.sqrt(x.shape[1]))
        modality = np.concatenate(blocks, 1) / np.sqrt(len(blocks))
        if components and modality.shape[1] > WIDE:
            modality = TruncatedSVD(components, random_state=0).fit(modality[rows]).transform(modality)
        found.append(modality)
    return found


class Experts:
    """A learner on each view (a modality, or all columns together) of the rows."""

    def __init__(self, arrays: Mapping[str, Array], job: Mapping[str, Any]) -> None:
        self.arrays, self.job, self.labels = arrays, job, arrays["labels"]
        self.learner, self.classes = LEARNERS[job["learner"]], int(arrays["labels"].max()) + 1
        self.options: list[dict[str, Any]] = []

    def views(self, rows: Array) -> list[Array]:
        modalities = represent(self.arrays, self.job, rows, self.learner.components)
        return [np.concatenate(modalities, 1)] if self.job["form"] == "concatenated" else modalities

    def _opinions(self, options: Mapping[str, Any], x: Array, rows: Array) -> Array:
        """Return log-probabilities [all rows, C] of a learner fitted on ``rows``."""
        model = self.learner.build(self.job["seed"], **options).fit(x[rows], self.labels[rows])
        probabilities = np.zeros((len(x), self.classes))
        probabilities[:, model.classes_] = model.predict_proba(x)
        return normalised(np.log(probabilities.clip(FLOOR)))

    def tune(self, train: Array, val: Array) -> Array:
        """Choose each view's options; return the log-probabilities [views, all rows, C] of the chosen."""

        def loss(opinions: Array) -> float:
            some, labels = opinions[val], self.labels[val]
            return nll(normalised(some / best_temperature(some, labels)), labels)

        kept = []
        for x in self.views(train):
            tried = [(options, self._opinions(options, x, train)) for options in self.learner.options()]
            options, opinions = min(tried, key=lambda pair: loss(pair[1]))
            self.options.append(options)
            kept.append(opinions)
        return np.stack(kept)

    def fit(self, rows: Array) -> Array:
        """Return the log-probabilities [views, all rows, C] of learners fitted on ``rows``."""
        pairs = zip(self.options, self.views(rows), strict=True)
        return np.stack([self._opinions(options, x, rows) for options, x in pairs])

    def out_of_fold(self, rows: Array, folds: Array) -> tuple[Array, Array]:
        """Return the rows that are in a fold, and their log-probabilities [views, those rows, C].

        Args:
            rows: The rows to learn from.
            folds: [rows] the fold of each, or -1 for a row that no fold leaves out.
        """
        opinions = np.zeros((len(self.options), len(self.labels), self.classes))
        for fold in range(folds.max() + 1):
            own = rows[folds == fold]
            opinions[:, own] = self.fit(rows[folds != fold])[:, own]
        inside = rows[folds >= 0]
        return inside, opinions[:, inside]


def flat(opinions: Array) -> Array:
    """Return [views, rows, C] as [rows, views * C]."""
    return np.concatenate([*opinions], 1)


class Stack:
    """A logistic regression on out-of-fold log-probabilities; its C is chosen on validation rows once."""

    def __init__(self, experts: Experts) -> None:
        self.experts, self.c = experts, META_C

    def __call__(self, opinions: Array, name: str, rows: Array, val: Array) -> Array:
        labels = self.experts.labels
        inside, held_out = self.experts.out_of_fold(rows, self.experts.arrays[f"folds/{name}"])

        def combined(c: float) -> Array:
            meta = LogisticRegression(C=c, max_iter=2000).fit(flat(held_out), labels[inside])
            found = np.full(opinions.shape[1:], np.log(FLOOR))
            found[:, meta.classes_] = meta.predict_log_proba(flat(opinions))
            return normalised(found.clip(np.log(FLOOR)))

        tried = {c: combined(c) for c in self.c}
        best = min(tried, key=lambda c: nll(tried[c][val], labels[val]))
        self.c = (best,)
        return tried[best]


def average(opinions: Array, name: str, rows: Array, val: Array) -> Array:
    """Return the normalised mean of the views' log-probabilities."""
    return normalised(opinions.mean(0))


def learn(arrays: Mapping[str, Array], job: Mapping[str, Any]) -> Fits:
    """Fit on train, then with the same options, C and temperature on train and val; see ``peers.py``."""
    fits, experts = Fits(), Experts(arrays, job)
    train, val, test = (arrays[split] for split in ("train", "val", "test"))
    combine = Stack(experts) if job["form"] == "stacked" else average
    opinions = experts.tune(train, val)
    fused = combine(opinions, "train", train, val)
    temperature = best_temperature(fused[val], experts.labels[val])
    fits.add("train", normalised(fused[test] / temperature))
    both = np.sort(np.concatenate([train, val]))
    fused = combine(experts.fit(both), "train+val", both, val)
    fits.add("train+val", normalised(fused[test] / temperature))
    if job["form"] == "late":
        names = (f"alone/{modality}" for modality in job["modalities"])
        fits.predictions |= {name: one[test] for name, one in zip(names, opinions, strict=True)}
    fits.notes = {"options": experts.options, "temperature": temperature}
    return fits


if __name__ == "__main__":
    serve(learn)
