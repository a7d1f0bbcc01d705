"""The classifier: an encoder per modality, a head, and fusion of the modalities' predictions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from altuna.core.batch import presence
from altuna.core.collectives import Input, encoded
from altuna.core.fusion import RULES
from altuna.core.heads import HEADS, CascadeHead, JointExpert
from altuna.core.micro_batches import encode_in_parts
from altuna.core.modules import eval_mode, feature_size, stored
from altuna.core.opinions import Calibration, Opinions, Rule
from altuna.core.outputs import Outputs, Parts, Prediction
from altuna.core.pool import Pool

Impute = Literal["zero", "mean"]
MEAN_ROWS = 1024  # how many rows a running mean of features reaches back


class MultimodalClassifier(nn.Module):
    """Encoders, a head and fusion, for any non-empty subset of the modalities.

    Args:
        encoders: For each modality name, a module that maps an input [n, ...] to features [n, d_m].
        num_classes: Number of classes C.
        head: ``shared`` (MLA), ``separate``, ``concat`` or another of ``altuna.core.heads``.
        fusion: The fusion rule, one of ``altuna.core.fusion.RULES`` that the head supports. None: ``joint``
            for a head whose joint logits are the prediction, ``evidence`` for every other head.
        fixed_weights: For each modality name, its weight in the rule ``fixed``.
        feature_sizes: d_m for each modality whose encoder has no attribute ``out_features``.
        impute: The input of a joint head for absent features: ``zero``, or their running training ``mean``.
            The mean is exact for the first ``MEAN_ROWS`` rows and then exponential, because a mean over all
            rows would include the features of untrained encoders. Its result does not depend on batches.
        expert: If given, the model has a joint expert: a small network on the features of all modalities. For
            samples that have all modalities, its logits are fused with the unimodal logits. The mapping
            contains the encoders that belong to the joint expert alone. For every other modality, the joint
            expert takes the features of the model's encoder.

    With ``micro_batch`` set, at most this many rows are encoded at once. The gradients are those of the full
    batch, and the memory is that of a micro-batch, at the cost of a second forward pass. Batch normalisation
    uses the statistics of each micro-batch.

    The buffer ``prior`` [C] has the class frequencies of the training rows (``set_prior``). The buffers
    ``temperatures`` [M], ``evidence_weights`` [M] and ``confidence_temperatures`` [R, M] (one row for each of
    ``fusions``, entry k - 1 for predictions from k modalities) start at 1 and are fitted by
    ``altuna.core.calibration.calibrate``, like ``class_biases`` [E, C] of modalities and a joint expert, and
    ``joint_temperature`` [] and ``joint_weight`` [] of the expert.

    Raises:
        ValueError: An argument is wrong.

    Example:
        >>> import torch
        >>> model = MultimodalClassifier({"audio": nn.Linear(20, 8), "image": nn.Linear(30, 8)}, 5)
        >>> both = model({"audio": torch.randn(4, 20), "image": torch.randn(4, 30)})
        >>> both.probabilities.shape, both.weights.shape
        (torch.Size([4, 5]), torch.Size([2, 4]))
        >>> model({"audio": torch.randn(4, 20)}).weights.tolist()  # any subset will do
        [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """

    temperatures: Tensor
    confidence_temperatures: Tensor
    evidence_weights: Tensor
    class_biases: Tensor
    prior: Tensor
    joint_temperature: Tensor
    joint_weight: Tensor
    fixed_weights: Tensor
    met: Tensor  # rows of each modality that its running mean has seen

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
        expert: Mapping[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("a classifier needs at least one encoder")
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if head not in HEADS:
            raise ValueError(f"unknown head {head!r}; the heads are {', '.join(HEADS)}")
        self.modalities = tuple(encoders)
        self.encoders = nn.ModuleList(encoders.values())  # by number: a name may hold a dot
        sizes = [(feature_sizes or {}).get(m) or feature_size(m, e) for m, e in encoders.items()]
        common = max(sizes) if HEADS[head].needs_equal_sizes else None
        self.adapters = nn.ModuleList(
            nn.Identity() if common in (None, size) else nn.Linear(size, common) for size in sizes
        )
        self.head = HEADS[head]([common or size for size in sizes], num_classes)
        if impute not in get_args(Impute):
            raise ValueError(f"impute must be one of {', '.join(get_args(Impute))}, got {impute!r}")
        if impute == "mean" and (not self.head.is_joint or isinstance(self.head, CascadeHead)):
            reason = "reconstructs absent features" if self.head.is_joint else "is not joint"
            raise ValueError(f"impute: 'mean' is not possible, because the head {head!r} {reason}")
        self.impute = impute
        self.micro_batch: int | None = None
        if impute == "mean":
            self.register_buffer("met", torch.zeros(len(encoders)))
            for name, size in zip(self.mean_names, self.head.sizes, strict=True):
                self.register_buffer(name, torch.zeros(size))
        self.num_classes = num_classes
        self.expert, self.expert_encoders = self._joint_expert(expert, feature_sizes or {})
        self.pools = nn.ModuleDict()  # by the modality's number
        self.fusion = self.check_fusion(fusion or ("joint" if self.head.is_joint else "evidence"))
        self.register_buffer("prior", torch.full((num_classes,), 1 / num_classes))
        self.register_buffer("temperatures", torch.ones(len(encoders)))
        self.register_buffer("evidence_weights", torch.ones(len(encoders)))
        self.register_buffer("class_biases", torch.zeros(len(encoders) + bool(self.expert), num_classes))
        self.register_buffer("confidence_temperatures", torch.ones(len(self.fusions), len(encoders)))
        if self.expert:
            self.register_buffer("joint_temperature", torch.tensor(1.0))
            self.register_buffer("joint_weight", torch.tensor(1.0))
        for name, weight in (fixed_weights or {}).items():
            if not weight >= 0:
                raise ValueError(f"fixed_weights: {name!r} must not be negative, got {weight}")
        fixed = [float((fixed_weights or {}).get(m, 1)) for m in self.modalities]
        self.register_buffer("fixed_weights", torch.tensor(fixed))

    def _joint_expert(
        self, expert: Mapping[str, nn.Module] | None, feature_sizes: Mapping[str, int]
    ) -> tuple[JointExpert | None, nn.ModuleDict]:
        """Return the joint expert, and its own encoders by the modality's number."""
        if expert is None:
            return None, nn.ModuleDict()
        if self.head.is_joint:
            raise ValueError(f"expert: the head {type(self.head).__name__} has joint logits of its own")
        if len(self.modalities) < 2:
            raise ValueError("expert: needs 2 modalities or more")
        own = {self._number(m): feature_sizes.get(m) or feature_size(m, e) for m, e in expert.items()}
        sizes = [own.get(i, size) for i, size in enumerate(self.head.sizes)]
        encoders = nn.ModuleDict({str(self._number(m)): e for m, e in expert.items()})
        return JointExpert(sizes, self.num_classes), encoders

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile each encoder by ``torch.compile``, in place: names of weights stay as they are."""
        for encoder in (*self.encoders, *self.expert_encoders.values()):
            encoder.compile(*args, **kwargs)

    @property
    def mean_names(self) -> tuple[str, ...]:
        """The names of the buffers of running means of features, which there are if they are imputed."""
        return tuple(f"mean{i}" for i in range(len(self.modalities)))

    @property
    def is_joint(self) -> bool:
        """Whether there are joint logits: of the head, or of a joint expert."""
        return self.head.is_joint or self.expert is not None

    @property
    def fusions(self) -> tuple[str, ...]:
        """The fusion rules that this model has."""
        return tuple(name for name, rule in RULES.items() if self._has(rule))

    def _has(self, rule: Rule) -> bool:
        needs = {"alone": self.is_joint, "expert": self.expert is not None}
        return needs.get(rule.joint, True)

    def set_prior(self, counts: Tensor) -> None:
        """Set the class prior to the frequencies of training labels.

        Args:
            counts: Number of training rows of each class [C].

        Raises:
            ValueError: A class has no training row.
        """
        if not (counts > 0).all():
            empty = (counts <= 0).nonzero().flatten().tolist()
            raise ValueError(f"every class needs a training row, classes {empty} have none")
        self.prior.copy_(counts / counts.sum())

    def check_fusion(self, fusion: str) -> str:
        """Return ``fusion`` if this model has it.

        Raises:
            ValueError: It has no such rule.
        """
        if fusion not in self.fusions:
            raise ValueError(f"unknown fusion {fusion!r}; this model has {', '.join(self.fusions)}")
        return fusion

    def encoder(self, modality: str) -> nn.Module:
        """Return a modality's encoder."""
        return self.encoders[self._number(modality)]

    def expert_encoder(self, modality: str) -> nn.Module | None:
        """Return the joint expert's own encoder of a modality; None if it has none."""
        number = str(self._number(modality))
        return self.expert_encoders[number] if number in self.expert_encoders else None  # noqa: SIM401, no get

    def encode(self, modality: str, inputs: Input) -> Tensor:
        """Return the features [n, d] that the head sees, from a modality's input [n, ...]."""
        i = self._number(modality)
        features = encoded(partial(self._features, self.encoders[i], self.adapters[i]), inputs)
        if self.impute == "mean" and self.training and len(features):
            self.met[i] += len(features)
            share = (len(features) / self.met[i].clamp_max(MEAN_ROWS)).clamp_max(1)
            self.get_buffer(self.mean_names[i]).lerp_(features.detach().float().mean(0), share)
        return features

    def encode_for_expert(self, modality: str, inputs: Input) -> Tensor | None:
        """Return the features [n, d] by the joint expert's own encoder; None if it has none."""
        encoder = self.expert_encoder(modality)
        if encoder is None:
            return None
        return encoded(partial(self._features, encoder, nn.Identity()), inputs)

    def pool(self, modality: str) -> Pool | None:
        """Return a modality's pool of its head and fitted estimators; None if it has its head alone."""
        number = str(self._number(modality))
        return self.pools[number] if number in self.pools else None  # type: ignore[return-value]  # noqa: SIM401

    def set_pool(self, modality: str, pool: Pool | None) -> None:
        """Give a modality fitted estimators beside its head; None takes them away."""
        others = {number: one for number, one in self.pools.items() if number != str(self._number(modality))}
        self.pools = nn.ModuleDict(others | ({str(self._number(modality)): pool} if pool else {}))

    def encode_all(self, modality: str, inputs: Input) -> Tensor:
        """Return all that ``outputs_of`` needs of a modality [n, w].

        The features that the head sees are followed by those of the joint expert's own encoder, if it has
        one, and by the log-probabilities of the modality's estimators; w is its entry of ``widths``.
        """
        pool, estimates = self.pool(modality), []
        if pool is not None:
            assert isinstance(inputs, Tensor)  # estimators are fitted after the training
            inputs = stored(self.encoder(modality), inputs)
            estimates = [pool.estimates(inputs)]
        features, more = self.encode(modality, inputs), self.encode_for_expert(modality, inputs)
        parts = [features, *([] if more is None else [more]), *estimates]
        return torch.cat(parts, 1) if len(parts) > 1 else features

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of features of each modality that ``encode_all`` returns."""
        return tuple(sum(self._sizes(m)) for m in self.modalities)

    def _sizes(self, modality: str) -> tuple[int, int, int]:
        """Return the widths of what ``encode_all`` puts side by side: ``Parts``, 0 where it adds nothing."""
        i, pool = self._number(modality), self.pool(modality)
        seen = self.expert.sizes[i] if self.expert and self.expert_encoder(modality) is not None else 0
        return self.head.sizes[i], seen, pool.size * self.num_classes if pool else 0

    def split(self, modality: str, features: Tensor) -> Parts:
        """Return the parts of the result of ``encode_all``."""
        own, seen, said = self._sizes(modality)
        first = features[:, :own] if seen or said else features
        other = features[:, own : own + seen] if seen else first
        return Parts(first, other, features[:, own + seen :] if said else None)

    def _features(self, encoder: nn.Module, adapter: nn.Module, inputs: Tensor) -> Tensor:
        if self.micro_batch:
            return encode_in_parts(encoder, adapter, inputs, self.micro_batch)
        features: Tensor = adapter(encoder(inputs))
        return features

    def classify(self, modality: str, features: Tensor) -> Tensor:
        """Return a modality's logits [n, C] from its features [n, d]."""
        if self.head.joint_only:
            size = features.shape[0]
            rows = torch.arange(size, device=features.device)
            return self.joint({modality: features}, {modality: rows}, size)
        logits: Tensor = self.head(self._number(modality), features)
        return logits

    def joint(self, features: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> Tensor:
        """Return a joint head's logits [size, C] from the features [n_m, d_m] at rows [n_m]."""
        numbered, places = self._numbered(features), self._numbered(rows)
        if self.impute == "mean":
            numbered, places = self._with_means(numbered, places, size)
        return self.head.joint(numbered, places, size)

    def ask_expert(self, features: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> Tensor:
        """Return the joint expert's logits [size, C] from what it sees, [n_m, d_m] at rows [n_m]."""
        assert self.expert is not None
        logits: Tensor = self.expert(self._numbered(features), self._numbered(rows), size)
        return logits

    def _numbered(self, of: dict[str, Tensor]) -> dict[int, Tensor]:
        return {self._number(m): value for m, value in of.items()}

    def _with_means(
        self, features: dict[int, Tensor], rows: dict[int, Tensor], size: int
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Return features of all modalities for all samples, means where there are none."""
        # Copies: a later forward pass changes the means, maybe before this one's backward.
        filled = {i: self.get_buffer(name).repeat(size, 1) for i, name in enumerate(self.mean_names)}
        for i, f in features.items():
            filled[i] = filled[i].to(f).index_copy(0, rows[i], f)
        all_rows = torch.arange(size, device=filled[0].device)
        return filled, dict.fromkeys(filled, all_rows)

    def outputs(self, inputs: Mapping[str, Input], rows: dict[str, Tensor], size: int) -> Outputs:
        """Return the outputs of ``size`` samples from inputs [n_m, ...] at rows [n_m]."""
        return self.outputs_of({m: self.encode_all(m, x) for m, x in inputs.items()}, rows, size)

    def eval_mode(self) -> AbstractContextManager[None]:
        """Switch to evaluation mode, without gradients; afterwards every module is in its mode of before."""
        return eval_mode(self)

    def outputs_of(self, features: dict[str, Tensor], rows: dict[str, Tensor], size: int) -> Outputs:
        """Return the outputs of ``size`` samples from features [n_m, w_m] of ``encode_all`` at rows [n_m]."""
        device = next(iter(features.values())).device if features else self.temperatures.device
        logits = self.temperatures.new_zeros(len(self.modalities), size, self.num_classes, device=device)
        parts = {m: self.split(m, f) for m, f in features.items()}
        for m, part in parts.items():
            z = self.classify(m, part.own)
            if (pool := self.pool(m)) and part.estimates is not None:
                z = pool(z, part.estimates, self.prior.to(device))
            logits[self._number(m)].index_copy_(0, rows[m], z.to(logits))
        joint = None
        if self.expert:
            joint = self.ask_expert({m: part.seen for m, part in parts.items()}, rows, size).to(logits)
        elif self.head.is_joint:
            joint = self.joint({m: part.own for m, part in parts.items()}, rows, size).to(logits)
        return Outputs(logits, presence(rows, self.modalities, size), joint)

    def fuse(self, outputs: Outputs, fusion: str | None = None) -> Prediction:
        """Fuse outputs to predictions, by the model's own rule or by another one."""
        fusion = self.check_fusion(fusion or self.fusion)
        opinions = self.opinions(outputs)
        fused = opinions.prediction(self.fused_logits(opinions, fusion), RULES[fusion])
        return Prediction(*fused, outputs.logits, outputs.present)

    def opinions(self, outputs: Outputs) -> Opinions:
        """Return outputs, on any device, ready to be fused by several rules."""
        device = outputs.logits.device
        calibration = Calibration(
            temperatures=self.temperatures.to(device),
            prior=self.prior.to(device),
            biases=self.class_biases.to(device),
            weights=self.evidence_weights.to(device),
            joint_temperature=self.joint_temperature.to(device) if self.expert else None,
            joint_weight=self.joint_weight.to(device) if self.expert else None,
        )
        joint = (outputs.joint, outputs.joint if self.expert else None)
        return Opinions(*outputs[:2], calibration, self.fixed_weights.to(device), *joint)

    def fused_logits(self, opinions: Opinions, fusion: str) -> Tensor:
        """Return the logits [B, C] of a rule, at the confidence that was fitted for it."""
        logits = opinions.logits(RULES[fusion])
        temperatures = self.confidence_temperatures[self.fusions.index(fusion)].to(logits.device)
        share = 1 / temperatures[opinions.present.sum(0) - 1].unsqueeze(-1)
        scaled = logits * share
        return scaled + opinions.log_prior * (1 - share) if RULES[fusion].pool == "evidence" else scaled

    def forward(
        self,
        inputs: dict[str, Tensor],
        rows: dict[str, Tensor] | None = None,
        size: int | None = None,
    ) -> Prediction:
        """Predict B samples from any non-empty subset of the modalities.

        Args:
            inputs: For each modality name, its input [n_m, ...].
            rows: For each modality name, the numbers [n_m] of the samples that have it. None: all samples.
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
