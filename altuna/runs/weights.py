"""Save a model's weights, and load them after a look at what they would take.

A model is built twice to be loaded: first without memory, on PyTorch's ``meta`` device, to compare the shapes
of its parameters with those that the file's header states. Only a description that fits is built in memory.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from altuna.core.model import MultimodalClassifier
from altuna.core.pool import Pool
from altuna.errors import UserError
from altuna.files import atomic_write, check_regular, write_json
from altuna.runs.description import Description
from altuna.runs.directory import read_model_file
from altuna.text import one_line

WEIGHTS = "model.safetensors"
POSITIVE = ("temperatures", "confidence_temperatures", "joint_temperature", "prior")
NOT_NEGATIVE = ("evidence_weights", "joint_weight")
ADDED = ("class_biases",)  # what older files lack, in which it is as in a new model
SPARE_NAMES = 1000  # layers and parameters that a model may make beside those that it keeps
SPARE_NUMBERS = 1 << 26


def save_model(run: Path, description: Description, model: MultimodalClassifier) -> None:
    """Write ``model.safetensors`` and ``config.json``.

    Example:
        >>> import tempfile
        >>> from altuna.data.readers import READERS
        >>> readers, encoders = {"acc": READERS["vector"](3)}, {"acc": {"name": "mlp"}}
        >>> description = Description("mla", ("cat", "owl"), "shared", "evidence", {}, readers, encoders)
        >>> run = Path(tempfile.mkdtemp())
        >>> save_model(run, description, description.build_model())
        >>> sorted(path.name for path in run.iterdir())
        ['config.json', 'model.safetensors']
    """
    with atomic_write(run / WEIGHTS) as unfinished:
        # Not by save_file: on a full disk it raises no OSError.
        unfinished.write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    write_json(run / "config.json", description.to_json())


def load_model(run: Path) -> tuple[Description, MultimodalClassifier]:
    """Load a model for inference; nothing is unpickled.

    Raises:
        UserError: Not a finished run directory, of another version, or damaged.

    Example:
        >>> description, model = load_model(Path("runs/first"))
        >>> description.method, model.modalities, model.training
        ('mla', ('image', 'text'), False)
    """
    description = Description.from_file(read_model_file(run))
    path = run / WEIGHTS
    stored = _header(path)
    limit = _Limit(stored)
    try:
        with _blamed(run / "config.json"), torch.device("meta"), limit:
            outline = description.build_model()
    except UserError:
        if limit.exceeded:
            raise
        # Some models compute something as they are built, which needs memory: the limit holds below too.
    else:
        _compare(path, stored, outline)
    with _blamed(run / "config.json"), limit:
        model = description.build_model()
    _compare(path, stored, model)
    with _blamed(path):
        added = {name: value for name, value in model.state_dict().items() if name in ADDED}
        model.load_state_dict(added | load_file(path))
    _check_values(path, model)
    return description, model.eval()


def _header(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a file of weights states, none of which is read."""
    try:
        check_regular(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent}: not a finished run: no {path.name}") from None
    with _blamed(path), safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@contextmanager
def _blamed(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file leads to into one line that names it."""
    try:
        yield
    except (
        *(ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError),
        *(RuntimeError, TypeError, ValueError, SafetensorError, AssertionError, ImportError),
    ) as error:
        raise UserError(f"{path}: does not hold this run's model: {one_line(error)}") from None


class _Limit(AbstractContextManager["_Limit"]):
    """Stop the building of a model that would have many more layers or weights than a file has for it.

    A parameter is looked at when it is registered: on the CPU its memory is reserved then, but not yet used.
    """

    def __init__(self, stored: Mapping[str, tuple[int, ...]]) -> None:
        self.names = 10 * len(stored) + SPARE_NAMES
        self.numbers = 4 * sum(map(math.prod, stored.values())) + SPARE_NUMBERS
        self.exceeded = False

    def __enter__(self) -> Self:
        self.left = {"layers and parameters": self.names, "weights": self.numbers}
        self.stack = ExitStack()
        for register in (
            register_module_module_registration_hook,
            register_module_parameter_registration_hook,
            register_module_buffer_registration_hook,
        ):
            self.stack.callback(register(self._count).remove)
        self.stack.enter_context(warnings.catch_warnings(action="ignore"))  # of layers without a weight
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def _count(self, module: nn.Module, name: str, value: object) -> None:
        self.left["layers and parameters"] -= 1
        if isinstance(value, Tensor):
            self.left["weights"] -= value.numel()
        for what, left in self.left.items():
            if left < 0:
                self.exceeded = True
                raise ValueError(f"it would have many more {what} than {WEIGHTS} holds, among them {name!r}")


def _compare(path: Path, stored: Mapping[str, tuple[int, ...]], model: nn.Module) -> None:
    """Raise UserError unless a file has the weights of a model, and no others."""
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    start = f"{path}: does not hold this run's model:"
    for name, shape in wanted.items():
        if name in ADDED and name not in stored:
            continue
        if name not in stored:
            raise UserError(f"{start} lacks {name}")
        if stored[name] != shape:
            found = f"has the shape {[*stored[name]]}, config.json describes {[*shape]}"
            raise UserError(f"{start} {name} {found}")
    if beside := [name for name in stored if name not in wanted]:
        raise UserError(f"{start} {beside[0]} is not a part of it")


def _check_values(path: Path, model: nn.Module) -> None:
    """Raise UserError for weights that are not finite, and for temperatures that are not more than 0."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise UserError(f"{path}: {name}: has values that are not finite numbers")
        if name in POSITIVE and not (value > 0).all():
            raise UserError(f"{path}: {name}: must be more than 0, has {value.min().item():g}")
        if name in NOT_NEGATIVE and not (value >= 0).all():
            raise UserError(f"{path}: {name}: must not be negative, has {value.min().item():g}")
    for name, module in model.named_modules():
        if isinstance(module, Pool) and (mistake := module.mistake()):
            raise UserError(f"{path}: {name}: {mistake}")
    fixed = model.get_buffer("fixed_weights")
    if (fixed < 0).any() or not fixed.any():
        raise UserError(f"{path}: fixed_weights: must not be negative nor all 0, has {fixed.tolist()}")
