"""The fields of options: the default and help of each, and what the command line and resuming ask of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

# The headings of ``--help``.
COMMON, DATA, MODEL, TRAINING = "Options", "Data", "Model", "Training"
MISSING, HARDWARE, OUTPUT = "Missing modalities", "Hardware", "Output"

# Help of options that several commands have.
MISSING_RATE_HELP = (
    "Fraction of the non-empty cells to mask (default: no cells are masked). A cell is one modality of one "
    "sample. altuna treats a masked cell as a missing modality. With random masks, each sample keeps at "
    "least one modality. Therefore the fraction can be at most 0.5 for two modalities."
)
MISSING_PATTERN_HELP = (
    "Rule that selects the cells to mask. A cell is one modality of one sample. random: randomly chosen "
    "cells. group: as random, but a modality is masked in all samples with the same value in the group "
    "column. label: as random, but the class of the sample decides which of its modalities is masked first."
    " only:NAME: mask all modalities except NAME. never:NAME: mask the modality NAME."
)
MISSING_MASK_HELP = (
    "Parquet file that states which cells to mask. A cell is one modality of one sample. The file has one "
    "boolean column per modality. The value false means that the cell is masked. Each run with masked cells"
    " writes a mask file, present.parquet, to its run directory."
)
FUSION_HELP = (
    "Rule that combines the predictions of the modalities into one prediction. evidence: naive Bayes with a"
    " fitted weight for each modality. entropy: a weighted sum of logits, in which predictions with low "
    "entropy get a high weight. product: the product of the class probabilities. mean: the mean of the "
    "logits. fixed: a weighted sum of logits. Set the weights with --set fixed_weights.NAME=NUMBER "
    "(default: equal weights). calibrated_entropy, calibrated_product, calibrated_mean, calibrated_fixed: "
    "the rules entropy, product, mean and fixed, applied to calibrated predictions. joint: the prediction "
    "of the joint head (one head on the features of all modalities). If the method has no joint head: the "
    "prediction of the joint expert (--joint-expert). experts: as calibrated_product, with the class "
    "probabilities of the joint expert as one more factor of the product. Default: joint for methods with a"
    " joint head, evidence for all other methods."
)
ESTIMATORS_HELP = (
    "After the training, fit more classifiers to each modality of number vectors. altuna combines the "
    "predictions of these classifiers with the prediction of the modality's network, and fusion uses the "
    "combined prediction. extra_trees: extremely randomised decision trees. logistic: logistic regression. "
    "extra_trees,logistic: both classifiers. none: only the network."
)
FOLDS_HELP = (
    "Divide the train and val rows into this number of folds (default: no folds). altuna trains one model "
    "for each fold, on the rows of all other folds. To predict, altuna averages the predictions of all "
    "models. Rows with the same value in the group column are in the same fold."
)
JOINT_EXPERT_HELP = (
    "Train a joint expert: a small network on the concatenated features of all modalities. For samples that"
    " have all modalities, altuna combines the prediction of the joint expert with the predictions of the "
    "modalities. off: no joint expert. detached: the loss of the joint expert does not train the encoders. "
    "turn: the loss of the joint expert also trains the encoders. apart: the joint expert has its own "
    "encoders."
)
STORE_HELP = (
    "Folder in which altuna stores the decoded data for this run and later runs (default: altuna's folder "
    "in the user's cache)."
)


def option(
    default: Any,
    help: str,
    group: str,
    *,
    place: bool = False,
    saved: bool | None = None,
    single: bool = False,
    **bounds: Any,
) -> Any:
    """Return the field of an option.

    Args:
        default: Its default.
        help: One or two plain sentences.
        group: Heading of ``altuna fit --help`` under which it stands.
        place: It says where or how something is computed, stored or shown, and does not change the result:
            a resumed run may change it.
        saved: It is written to ``config.yaml``; by default if it changes the result.
        single: It belongs to one training: ``altuna compare`` sets it for each of its own.
        bounds: Bounds for pydantic's ``Field``: ``ge``, ``gt``, ``le``, ``lt``.
    """
    extra: JsonDict = {"group": group, "place": place, "single": single}
    extra["saved"] = not place if saved is None else saved
    return Field(default, description=help, json_schema_extra=extra, **bounds)


def marker(field: FieldInfo, name: Literal["group", "place", "saved", "single"]) -> Any:
    """Return what ``option`` was given about a field.

    Example:
        >>> marker(option(0, "Number of workers.", HARDWARE, place=True), "group")
        'Hardware'
    """
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return extra[name]
