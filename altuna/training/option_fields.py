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
    "Fraction of the non-empty cells to mask (default: no cells). A cell is one modality of one sample. A "
    "masked cell counts as missing. With --missing-pattern random, each sample keeps at least one "
    "modality. Therefore the fraction can be at most 0.5 if there are two modalities."
)
MISSING_PATTERN_HELP = (
    "Rule that selects the cells to mask. A cell is one modality of one sample. random: altuna selects "
    "cells at random. group: like the value random, but for whole groups: a modality is masked either in "
    "all samples of a group or in none. A group is all samples with one value in the group column. label: "
    "like the value random, but for each class, altuna masks the cells of one particular modality first. "
    "only:NAME: altuna masks all modalities except NAME. never:NAME: altuna masks the modality NAME."
)
NAMED_PATTERN_HELP = (
    " With only:NAME and never:NAME, --missing-rate is the fraction of the samples to mask (default: all "
    "samples)."
)
MISSING_MASK_HELP = (
    "Parquet file that states which cells to mask, such as the file present.parquet in the run directory "
    "of a run with masked cells. The file has the column id and one boolean column per modality. The value"
    " false means that the sample loses this modality."
)
FUSION_HELP = (
    "Rule that combines the predictions of the modalities into one prediction. evidence: naive Bayes with "
    "a fitted weight for each modality. entropy: a weighted sum of logits, in which predictions with low "
    "entropy get a high weight. product: the product of the class probabilities. mean: the mean of the "
    "logits. fixed: a weighted sum of logits, with weights that you set by --set fixed_weights.NAME=NUMBER"
    " (default: equal weights). calibrated_entropy, calibrated_product, calibrated_mean, calibrated_fixed:"
    " the rules entropy, product, mean and fixed, applied to calibrated predictions. joint: the prediction"
    " of the joint head (one head on the features of all modalities) or, in methods without a joint head, "
    "of the joint expert (--joint-expert). experts: like the value calibrated_product, with the class "
    "probabilities of the joint expert as one more factor. The default is joint for methods with a joint "
    "head, and evidence for all other methods."
)
ESTIMATORS_HELP = (
    "Additional classifiers that altuna fits to each modality of number vectors after the training. altuna"
    " combines the predictions of these classifiers with the prediction of the modality's network, and "
    "fusion uses the combined prediction. extra_trees: extremely randomised decision trees. logistic: "
    "logistic regression. extra_trees,logistic: both classifiers. none: no additional classifiers."
)
FOLDS_HELP = (
    "Number of folds into which altuna divides the train and val rows (default: no folds). For each fold, "
    "altuna trains one model on the rows of all other folds. To predict, altuna averages the predictions "
    "of all models. Rows with the same value in the group column are in the same fold."
)
JOINT_EXPERT_HELP = (
    "Whether and how to train a joint expert: a small network on the concatenated features of all "
    "modalities. For samples that have all modalities, altuna combines the prediction of the joint expert "
    "with the predictions of the modalities. off: no joint expert. detached: the loss of the joint expert "
    "does not train the encoders. turn: the loss of the joint expert also trains the encoders. apart: the "
    "joint expert has its own copies of the encoders."
)
STORE_HELP = (
    "Folder for the decoded data. Later runs on the same data read the decoded data from this folder "
    "(default: ~/.cache/altuna/store)."
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
