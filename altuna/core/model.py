"""The model: one encoder a modality, a head, and fusion of what each modality says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from altuna.core.batch import presence
from altuna.core.collectives import Input, encoded
from altuna.core.fusion import RULES, Fusion, Opinions, Rule, log_softmax, rounded
from altuna.core.heads import HEADS, CascadeHead
from altuna.core.outputs import Outputs, Prediction
from altuna.errors import UserError

CALIBRATED = "calibrated_"
UNIMODAL_FUSIONS: tuple[str, ...] = (*RULES, *(CALIBRATED + rule for rule in RULES))
FUSIONS: tuple[str, ...] = (*UNIMODAL_FUSIONS, "joint", "experts")
Impute = Literal["zero", "mean"]
WINDOW = 1024  # rows that a running mean of features reaches back


class MultimodalClassifier(nn.Module):
    """Encoders, a head and test-time fusion; takes any non-empty subset of its modalities.

    Args:
        encoders: Modality name to a module from its input [n, ...] to features [n, d_m].
        num_classes: Number of classes C.
        head: ``shared`` (MLA), ``separate``, ``concat`` or another of ``altuna.core.heads``.
        fusion: ``entropy``, ``product``, ``mean`` or ``fixed``; the same with ``calibrated_`` in front, which
            divides by the fitted ``temperatures`` first; ``joint``, the logits of a joint head; or
            ``experts``, the calibrated product of the unimodal logits and, for samples that have all
            modalities, of the joint ones (a head that is made for it). The head decides when None.
        fixed_weights: Modality name to its weight, for ``fixed``.
        feature_sizes: Modality name to d_m, for encoders that have no ``out_features``.
        impute: What a joint head gets for features that are absent: ``zero``, or their running ``mean`` over
            the training: exact until ``WINDOW`` rows were met, then exponential, since a mean of all would
            keep the features of encoders that had learnt nothing. Samples count alike in any batch.

    With ``micro_batch`` set, no more rows than that are encoded at once: gradients are those of the whole
    batch and memory that of a part, for a forward pass more. Batch normalisation sees the parts.

    The buffers ``temperatures`` [M] and ``confidence_temperatures`` [M] (entry k - 1 for predictions that
    rest on k modalities) start at 1 and are fitted by ``altuna.evaluation.calibrate``; likewise
    ``joint_temperature`` [], which only a model with a joint expert has.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> model = MultimodalClassifier({"image": nn.Linear(8, 4), "text": nn.Linear(5, 4)}, num_classes=3)
        >>> model({"text": torch.zeros(2, 5)}).probabilities.shape
        torch.Size([2, 3])
    """

    temperatures: Tensor
    confidence_temperatures: Tensor
    joint_temperature: Tensor
    fixed_weights: Tensor
    met: Tensor

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        num_classes: int,
        *,
        head: str = "shared",
        fusion: str | None = None,
        fixed_weights: Mapping[str, float] | None = None,
        feature_sizes: Mapping[str, int] | None = None,
        impute: Impute = "zero",
    ) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("a classifier needs at least one encoder")
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if head not in HEADS:
            raise ValueError(f"unknown head {head!r}; the heads are {', '.join(HEADS)}")
        self.modalities = tuple(encoders)
        # By number, not by name: a name may hold a dot or be an attribute of nn.ModuleDict.
        self.encoders = nn.ModuleList(encoders.values())
        sizes = [(feature_sizes or {}).get(m) or _size(m, e) for m, e in encoders.items()]
        common = max(sizes) if HEADS[head].needs_equal_sizes else None
        self.adapters = nn.ModuleList(
            nn.Identity() if common in (None, size) else nn.Linear(size, common) for size in sizes
        )
        self.head = HEADS[head]([common or size for size in sizes], num_classes)
        if impute not in get_args(Impute):
            raise ValueError(f"impute must be one of {', '.join(get_args(Impute))}, got {impute!r}")
        if impute == "mean" and (not self.head.is_joint or isinstance(self.head, CascadeHead)):
            reason = "imagines what is absent" if self.head.is_joint else "is not joint"
            raise ValueError(f"impute: 'mean' cannot be, as the head {head!r} {reason}")
        self.impute = impute
        self.micro_batch: int | None = None
        if impute == "mean":
            self.register_buffer("met", torch.zeros(len(encoders)))
            for i, size in enumerate(self.head.sizes):
                self.register_buffer(f"mean{i}", torch.zeros(size))
        self.num_classes = num_classes
        usual = "experts" if self.head.is_expert else "joint" if self.head.is_joint else "calibrated_product"
        self.fusion = self.check_fusion(fusion or usual)
        ones = torch.ones(len(encoders))
        self.register_buffer("temperatures", ones.clone())
        self.register_buffer("confidence_temperatures", ones.clone())
        if self.head.is_expert:
            self.register_buffer("joint_temperature", torch.tensor(1.0))
        for name, weight in (fixed_weights or {}).items():
            if not weight >= 0:
                raise ValueError(f"fixed_weights: {name!r} must not be negative, got {weight}")
        self.register_buffer(
            "fixed_weights",
            torch.tensor([float((fixed_weights or {}).get(m, 1)) for m in self.modalities]),
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile each encoder by ``torch.compile``, in place: names of weights stay as they are."""
        for encoder in self.encoders:
            encoder.compile(*args, **kwargs)

    @property
    def fusions(self) -> tuple[str, ...]:
        """The fusion rules that this model has."""
        own = {"joint": self.head.is_joint, "experts": self.head.is_expert}
        return tuple(f for f in FUSIONS if own.get(f, True))

    def check_fusion(self, fusion: str) -> str:
        """Return ``fusion`` if this model has it, else raise UserError (a ValueError)."""
        if fusion not in self.fusions:
            raise UserError(f"unknown fusion {fusion!r}; this model has {', '.join(self.fusions)}")
        return fusion

    def encoder(self, modality: str) -> nn.Module:
        """Return a modality's encoder."""
        return self.encoders[self._number(modality)]

    def encode(self, modality: str, inputs: Input) -> Tensor:
        """Return the features [n, d] that the head sees, from a modality's input [n, ...]."""
        i = self._number(modality)
        features = encoded(partial(self._in_parts if self.micro_batch else self._features, i), inputs)
        if self.impute == "mean" and self.training and len(features):
            self.met[i] += len(features)
            share = (len(features) / self.met[i].clamp_max(WINDOW)).clamp_max(1)
            self.get_buffer(f"mean{i}").lerp_(features.detach().float().mean(0), share)
        return features

    def _features(self, i: int, inputs: Tensor) -> Tensor:
        features: Tensor = self.adapters[i](self.encoders[i](inputs))
        return features

    def _in_parts(self, i: int, inputs: Tensor) -> Tensor:
        """Encode a part at a time; of each the features are kept, and the rest is made again for backward."""
        parts = torch.split(inputs, self.micro_batch or len(inputs))

        def again() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _StatisticsKept(self.encoders[i])

        return torch.cat(
            [checkpoint(self._features, i, p, use_reentrant=False, context_fn=again) for p in parts]
        )

    def classify(self, modality: str, features: Tensor) -> Tensor:
        """Return a modality's logits [n, C] from its features [n, d]."""
        if self.head.is_whole:
            size = features.shape[0]
            rows = torch.arange(size, device=features.device)
            return self.joint({modality: features}, {modality: rows}, size)
        logits: Tensor = self.head(self._number(modality), features)
        return logits

    def joint(self, features: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> Tensor:
        """Return a joint head's logits [size, C] from the features [n_m, d_m] at rows [n_m]."""
        numbered = {self._number(m): f for m, f in features.items()}
        places = {self._number(m): r for m, r in rows.items()}
        if self.impute == "mean":
            numbered, places = self._with_means(numbered, places, size)
        return self.head.joint(numbered, places, size)

    def _with_means(
        self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return features of all modalities for all samples, means where there are none."""
        # Copies: a later forward pass changes the means, maybe before this one's backward.
        filled = {i: self.get_buffer(f"mean{i}").repeat(size, 1) for i in range(len(self.modalities))}
        for i, f in features.items():
            filled[i] = filled[i].to(f).index_copy(0, rows[i], f)
        everyone = torch.arange(size, device=filled[0].device)
        return filled, dict.fromkeys(filled, everyone)

    def outputs(self, inputs: Mapping[str, Input], rows: dict[str, Tensor], size: int) -> Outputs:
        """Return what each modality says for ``size`` samples; ``inputs[m]`` are those of ``rows[m]``."""
        return self.outputs_of({m: self.encode(m, x) for m, x in inputs.items()}, rows, size)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Be as when predicting, without dropout and without gradients; afterwards every module as before."""
        modes = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes.items():
                module.training = mode

    def outputs_of(self, features: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> Outputs:
        """Return what each modality says from features [n_m, d_m], at ``rows[m]`` of ``size`` samples."""
        device = next(iter(features.values())).device if features else self.temperatures.device
        logits = self.temperatures.new_zeros(len(self.modalities), size, self.num_classes, device=device)
        for m, f in features.items():
            z = self.classify(m, f)
            logits[self._number(m)].index_copy_(0, rows[m], z.to(logits))
        joint = self.joint(features, rows, size).to(logits) if self.head.is_joint else None
        return Outputs(logits, presence(rows, self.modalities, size), joint)

    def fuse(self, outputs: Outputs, fusion: str | None = None) -> Prediction:
        """Fuse outputs by the model's own rule, or by ``fusion``, into predictions per sample."""
        fusion = self.check_fusion(fusion or self.fusion)
        ((_, logits, weights),) = self.fused_by(outputs, [fusion])
        return Prediction(*rounded(logits, weights(), outputs.logits.dtype), outputs.logits, outputs.present)

    def fused(self, outputs: Outputs, fusion: str) -> Fusion:
        """Fuse outputs by a rule, before the confidence temperatures."""
        ((_, logits, weights),) = self.fused_by(outputs, [fusion], confident=False)
        return rounded(logits, weights(), outputs.logits.dtype)

    def opinions(self, outputs: Outputs, *, calibrated: bool) -> Opinions:
        """Return outputs ready to be fused by several rules, divided by the temperatures or as they are."""
        device = outputs.logits.device  # outputs may have left the model's
        temperatures = self.temperatures.to(device) if calibrated else None
        return Opinions(outputs.logits, outputs.present, temperatures, self.fixed_weights.to(device))

    def fused_by(
        self,
        outputs: Outputs,
        fusions: Iterable[str],
        *,
        confident: bool = True,
        calibrated: Opinions | None = None,
    ) -> Iterator[tuple[str, Tensor, Callable[[], Tensor]]]:
        """Yield rules with the logits [B, C] that they give, and what returns their weights [M, B].

        What rules share is computed once. The logits of the model's own rule are divided by the confidence
        temperatures, which were fitted for it, if it is to be ``confident``. ``calibrated``: the calibrated
        ``opinions`` of the outputs, where they are already there.
        """
        device = outputs.logits.device
        opinions = {} if calibrated is None else {True: calibrated}
        for fusion in fusions:
            uses_joint = fusion not in UNIMODAL_FUSIONS
            rule = cast(Rule, "product" if uses_joint else fusion.removeprefix(CALIBRATED))
            by_temperature = uses_joint or fusion.startswith(CALIBRATED)
            if by_temperature not in opinions:
                opinions[by_temperature] = self.opinions(outputs, calibrated=by_temperature)
            mine = opinions[by_temperature]
            if not uses_joint:
                logits = mine.logits(rule)
            else:
                assert outputs.joint is not None
                logits = outputs.joint
                if fusion == "experts":
                    expert = log_softmax(logits / self.joint_temperature.to(device))
                    logits = mine.logits(rule) + expert * outputs.present.all(0).unsqueeze(-1)
            if confident and fusion == self.fusion:
                count = outputs.present.sum(0) - 1
                logits = logits / self.confidence_temperatures.to(device)[count].unsqueeze(-1)
            yield fusion, logits, partial(mine.weights, rule)

    def forward(
        self,
        inputs: dict[str, Tensor],
        rows: dict[str, Tensor] | None = None,
        size: int | None = None,
    ) -> Prediction:
        """Predict B samples from any non-empty subset of the modalities.

        Args:
            inputs: Modality name to its input [n_m, ...].
            rows: Modality name to the samples [n_m] that its input belongs to; all of them when None.
            size: B; needed only with ``rows``.

        Raises:
            ValueError: An unknown modality, inputs that do not fit together, or a sample with no modality.
        """
        if not inputs:
            raise ValueError("inputs is empty: give at least one modality")
        for m in inputs:
            self._number(m)
        lengths = {m: len(x) for m, x in inputs.items()}
        if rows is None:
            if len(set(lengths.values())) > 1:
                raise ValueError(f"without rows every input needs the same length, got {lengths}")
            size = next(iter(lengths.values()))
            rows = {m: torch.arange(size, device=x.device) for m, x in inputs.items()}
        elif lengths != (numbers := {m: len(r) for m, r in rows.items()}):
            raise ValueError(f"every input needs its rows: the inputs have {lengths}, rows has {numbers}")
        if size is None:
            raise ValueError("rows needs size, the number of samples")
        return self.fuse(self.outputs(inputs, rows, size))

    def _number(self, modality: str) -> int:
        try:
            return self.modalities.index(modality)
        except ValueError:
            known = ", ".join(self.modalities)
            raise ValueError(f"unknown modality {modality!r}; this model has {known}") from None


class _StatisticsKept(AbstractContextManager[None]):
    """Leaves running statistics alone: a part that is encoded again for backward was counted already.

    It may be entered once for each of several losses.
    """

    def __init__(self, module: nn.Module) -> None:
        self.norms = [m for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats]
        self.before = [(norm.momentum, norm.num_batches_tracked) for norm in self.norms]

    def __enter__(self) -> None:
        for norm in self.norms:
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, before in zip(self.norms, self.before, strict=True):
            norm.momentum, norm.num_batches_tracked = before


def _size(modality: str, encoder: nn.Module) -> int:
    """Find an encoder's feature size: its ``out_features``, or that of the last layer of a Sequential."""
    for module in reversed(list(encoder) if isinstance(encoder, nn.Sequential) else [encoder]):
        if isinstance(module, nn.Sequential):
            return _size(modality, module)
        if isinstance(size := getattr(module, "out_features", None), int):
            return size
        if any(True for _ in module.parameters()):
            break
    raise ValueError(
        f"the encoder of {modality!r} has no out_features: give feature_sizes={{{modality!r}: d}}"
    )
