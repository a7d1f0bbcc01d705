"""The training loop: epochs, batches, turns, validation, checkpoints. Nothing else calls backward or step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import combinations
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from altuna.core.batch import Batch
from altuna.core.calibration import fit_confidence, fit_temperatures
from altuna.core.collectives import all_gather_object, average, backward, processes, seed
from altuna.core.outputs import Outputs, concatenate
from altuna.encoders.frozen import weights_digest
from altuna.errors import DivergedError, UserError
from altuna.evaluation.imbalance import conflicts
from altuna.evaluation.metrics import classification_metrics
from altuna.hardware import explain_out_of_memory
from altuna.methods.base import Method, Turn
from altuna.reporting import SILENT, Reporter, TrainingReporter
from altuna.training.interruption import interruption
from altuna.training.loggers import Logger
from altuna.training.optimizers import (
    OPTIMIZERS,
    learning_rate_factor,
    load_optimizer,
    match_gradient_layouts,
    parameter_groups,
)
from altuna.training.progress import Extent, Progress

LOGGED = 20  # batches of an epoch whose turns are logged, unless log_every says otherwise


class Feed(Protocol):
    """What gives the batches of an epoch in an order that seed and epoch determine."""

    @property
    def sampler(self) -> Any:
        """Has ``set_epoch(epoch)`` and ``start``, the batch with which the next epoch begins."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


class Checkpoints(Protocol):
    """Where a loop saves what it needs to continue: ``altuna.training.checkpoints``."""

    def is_due(self, batches: int) -> bool:
        """Return whether to save after so many batches of an epoch."""

    def save_last(self, loop: Loop) -> None:
        """Save within an epoch."""

    def save_epoch(self, loop: Loop) -> None:
        """Save after an epoch."""


class Loop:
    """Trains any method: for every turn of every batch forward, backward, the method's change, step.

    A turn updates the parameters that its loss reaches, and no others: gradients are cleared to None before
    it, and optimizers leave parameters without gradient alone, momentum and weight decay included.

    Everything random is seeded by (seed, epoch, batch) when a batch starts, so a training continues from a
    checkpoint exactly as if it had not been interrupted.

    It ends after ``epochs``, or with a budget: after the batch in which the encoder updates or the seconds
    are spent. Under a budget the learning rate follows the share of it that is spent.

    Args:
        method: What to do in which turn; owns the model. It is moved to ``device``.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
        lr: Peak learning rate.
        schedule: See ``learning_rate_factor``.
        weight_decay: Weight decay.
        epochs: Number of epochs; with a budget those to expect until the first one has ended.
        max_updates: Budget of encoder updates.
        max_seconds: Budget of training seconds.
        clip: Max gradient norm of a turn, as the method leaves it; None: any.
        seed: Random seed of dropout, transforms and the like.
        log_every: Batches between those whose turns are logged one by one, with gradient norms and
            interference, which cost time. None: about ``LOGGED`` batches of an epoch.
        device: Where to compute.
        precision: ``32-true`` or ``bf16-mixed``.
        data: Identifies the training data.
    """

    def __init__(
        self,
        method: Method,
        *,
        optimizer: str = "adamw",
        lr: float = 1e-3,
        schedule: Mapping[str, float] | None = None,
        weight_decay: float = 0.01,
        epochs: int = 1,
        max_updates: int | None = None,
        max_seconds: float | None = None,
        clip: float | None = None,
        seed: int = 0,
        log_every: int | None = None,
        device: torch.device | str = "cpu",
        precision: str = "32-true",
        data: str = "",
    ) -> None:
        self.device, self.precision = torch.device(device), precision
        self.method = method.to(self.device)
        self.optimizer = OPTIMIZERS[optimizer](parameter_groups(method, lr), lr, weight_decay)
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.schedule, self.clip, self.seed, self.log_every = schedule, clip, seed, log_every
        self.extent = Extent(epochs, max_updates, max_seconds, len(method.model.modalities))
        self.data = data
        self.progress = Progress()
        self.loggers: Sequence[Logger] = ()
        self._sums: dict[str, tuple[Tensor, int]] = {}
        self._sum_type = torch.float32 if self.device.type == "mps" else torch.float64
        self._frozen: str | None = None

    def run(
        self,
        train: Feed,
        val: Iterable[Batch],
        *,
        checkpoints: Checkpoints | None = None,
        loggers: Sequence[Logger] = (),
        reporter: Reporter = SILENT,
    ) -> None:
        """Train from where ``progress`` stands to the end.

        Args:
            train: The training batches.
            val: The validation batches.
            checkpoints: Where to save; None: nowhere.
            loggers: Get each epoch's metrics and, on some batches, those of each turn.
            reporter: Where to report progress.

        Raises:
            DivergedError: A loss or a weight is not finite.
            KeyboardInterrupt: Ctrl-C, after the batch at hand, which is saved; a second one at once.
        """
        self.loggers, progress = loggers, self.progress
        with reporter.training() as report, interruption() as is_interrupted:
            while not self.extent.is_over(progress):
                self._begin_epoch(train, report)
                for batch in train:
                    self.train_batch(batch)
                    progress.batches += 1
                    report.batch_ends()
                    if self.extent.is_spent(progress):
                        break
                    if is_interrupted():
                        self._save_interrupted(checkpoints)
                        raise KeyboardInterrupt
                    if checkpoints and progress.batches < len(train) and checkpoints.is_due(progress.batches):
                        self._average_buffers()
                        checkpoints.save_last(self)
                try:
                    metrics = self.validate(val, is_interrupted)
                except KeyboardInterrupt:
                    self._save_interrupted(checkpoints)
                    raise
                self._end_epoch(metrics)
                if checkpoints:
                    checkpoints.save_epoch(self)
                report.epoch_ends(progress.epoch - 1, progress.history[-1])

    def train_batch(self, batch: Batch) -> None:
        """Take all turns of a batch."""
        progress, clock = self.progress, self.method.clock
        if not len(batch):  # of a stream: nothing in its rows could be read
            return
        with explain_out_of_memory("when a batch was copied to the device", len(batch)):
            batch = batch.to(self.device, non_blocking=self.device.type == "cuda")  # from page-locked memory
        clock.batch = progress.trained
        seed(hash((self.seed, clock.epoch, progress.batches)))
        self._set_learning_rates()
        # By default every odd number of batches: turns that alternate are then met in both orders.
        every = self.log_every or (clock.batches // LOGGED) | 1
        wants_log = progress.batches % every == 0
        head: dict[nn.Parameter, Tensor] = {}
        with self._autocast(), self._counting_flops():
            for turn in self.method.turns(batch):
                turn.wants_log = wants_log
                self.optimizer.zero_grad()
                with explain_out_of_memory(f"in the turn of {turn.name}", len(batch)):
                    turn.log["loss"] = self._backward(turn, batch)
                    if wants_log:
                        head = self._log_conflict(turn, head)
                    self.method.modify_gradients(turn, batch)
                    self._step(turn)
                    progress.updates += len(turn.modalities)
                    self.method.after_step(turn, batch)
                self._log(turn)
        progress.trained += 1
        progress.steps += 1

    @torch.inference_mode()
    def validate(
        self, batches: Iterable[Batch], is_interrupted: Callable[[], bool] = lambda: False
    ) -> dict[str, float]:
        """Fit the temperatures on the validation batches and return their metrics."""
        self._average_buffers()
        model = self.method.model
        parts: list[tuple[Outputs, Tensor]] = []
        with model.eval_mode():
            for batch in batches:
                parts.append((self._outputs(batch.to(self.device)), batch.labels.to(self.device)))
                if is_interrupted():
                    raise KeyboardInterrupt
            joined, labels = concatenate(parts)
            # Before epochs are compared by their loss; ``calibrate`` fits the best epoch with more care.
            fit_temperatures(model, joined, labels)
            fit_confidence(model, joined, labels)
            fused = classification_metrics(model.fuse(joined).probabilities, labels)
        metrics: dict[str, float] = {"epoch": self.method.clock.epoch}
        metrics |= {f"val/{name}/fused": value for name, value in fused.items()}
        alone = model.opinions(joined).log_probabilities.argmax(-1) == labels
        for modality, right, present in zip(model.modalities, alone, joined.present, strict=True):
            if present.any():
                metrics[f"val/accuracy/{modality}"] = right[present].float().mean().item()
        return all_gather_object(metrics)[0]  # that all choose the same epoch, whatever is rounded

    def _outputs(self, batch: Batch) -> Outputs:
        """Return the outputs of a validation batch."""
        model = self.method.model
        features = {}
        with self._autocast():
            for m, x in batch.inputs.items():
                with explain_out_of_memory(f"in validation, when {m} was encoded", len(batch)):
                    features[m] = model.encode_all(m, x)
            return model.outputs_of(features, batch.rows, len(batch))

    def _backward(self, turn: Turn, batch: Batch) -> Tensor:
        """Leave the gradient of a turn's loss, or the sum of several, in the parameters; return the loss."""
        losses = self.method.loss(turn, batch)
        if isinstance(losses, Tensor):
            backward(losses, self.method)
            return losses.detach()
        parameters = [p for p in self.method.parameters() if p.requires_grad]
        for number, (name, loss) in enumerate(losses.items()):
            backward(loss, self.method, retain_graph=number < len(losses) - 1)
            turn.gradients[name] = {p: p.grad for p in parameters if p.grad is not None}
            for p in turn.gradients[name]:
                p.grad = None
        for gradients in turn.gradients.values():
            for p, gradient in gradients.items():
                p.grad = gradient.clone() if p.grad is None else p.grad.add_(gradient)
        return torch.stack([loss.detach() for loss in losses.values()]).sum()

    def _step(self, turn: Turn) -> None:
        match_gradient_layouts(self.optimizer)
        if self.clip is not None:
            turn.log["gradient"] = nn.utils.clip_grad_norm_(self.method.parameters(), self.clip)
        self.optimizer.step()

    def _begin_epoch(self, train: Feed, report: TrainingReporter) -> None:
        progress, clock = self.progress, self.method.clock
        clock.epoch, clock.batches = progress.epoch, len(train)
        clock.epochs = self.extent.expected_epochs(progress, clock.batches)
        train.sampler.set_epoch(clock.epoch)
        train.sampler.start = progress.batches
        progress.start_epoch()
        report.epoch_starts(clock.epoch, clock.epochs, progress.batches, clock.batches)

    def _save_interrupted(self, checkpoints: Checkpoints | None) -> None:
        """Save what is trained of an epoch, after Ctrl-C.

        Not among several processes, of which only the first one knows; nor with a budget that is spent: a
        resumed training would end without the metrics of this epoch.
        """
        if checkpoints and processes() == 1 and not self.extent.is_spent(self.progress):
            checkpoints.save_last(self)

    def _end_epoch(self, metrics: dict[str, float]) -> None:
        """Add an epoch's metrics to the history; raise DivergedError if it cannot be continued from."""
        progress = self.progress
        means = {name: float(total) / count for name, (total, count) in self._sums.items()}
        self._sums.clear()
        self._check_finite(metrics, means)
        self.method.after_epoch()
        if self.extent.max_updates is not None and progress.updates == progress.updates_before:
            raise UserError("the budget of encoder updates cannot be used up: the method makes no updates")
        seconds, updates = progress.epoch_seconds(), progress.updates
        metrics |= {"seconds": seconds, "updates": updates, "flops": progress.flops, **means}
        self._show(metrics)
        progress.end_epoch(metrics, ended=self.extent.is_spent(progress))

    def _check_finite(self, metrics: Mapping[str, float], means: Mapping[str, float]) -> None:
        """Raise DivergedError if a training loss or a weight is not finite, or the validation loss is NaN."""
        when = f"in epoch {self.progress.epoch + 1}"
        for name, mean in means.items():
            if name.startswith("train/loss/") and not math.isfinite(mean):
                raise DivergedError(f"diverged: {name} is {mean} {when}")
        # No training loss shows the last step. An infinite loss is that of a class of probability 0.
        if math.isnan(loss := metrics["val/nll/fused"]):
            raise DivergedError(f"diverged: val/nll/fused is {loss} {when}")
        for name, weight in self.method.named_parameters():
            if weight.requires_grad and not weight.isfinite().all():
                raise DivergedError(f"diverged: the weights {name} are not finite {when}")

    # What is logged.

    def _log(self, turn: Turn) -> None:
        """Add a turn's metrics to those of the epoch; show them if the turn is logged."""
        for metric, value in turn.log.items():
            name = f"train/{metric}/{turn.name}"
            if name not in self._sums:
                self._sums[name] = (torch.zeros((), dtype=self._sum_type, device=value.device), 0)
            total, count = self._sums[name]
            self._sums[name] = (total.add_(value.detach()), count + 1)
        if turn.wants_log and self.loggers:
            self._show({f"turn/{metric}/{turn.name}": value.item() for metric, value in turn.log.items()}, 1)

    def _show(self, metrics: dict[str, float], more: int = 0) -> None:
        clock = self.method.clock
        for logger in self.loggers:
            logger.log(metrics, clock.epoch * clock.batches + self.progress.batches + more)

    def _log_conflict(self, turn: Turn, before: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
        """Log how a turn's gradients conflict, and the head's with that before; return the head's."""
        head = {p: p.grad.clone() for p in self.method.model.head.parameters() if p.grad is not None}
        share = conflicts([(before, head), *combinations(turn.gradients.values(), 2)])
        if share is not None:
            turn.log["conflict"] = share
        return head

    @contextmanager
    def _counting_flops(self) -> Iterator[None]:
        """Count what the first batch of an epoch costs: it changes with a method's phases only."""
        if self.progress.trained:
            yield
            return
        # Not compiled: under a counter, PyTorch gives up compiling an encoder for good.
        with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
            yield
        self.progress.flops = sum(all_gather_object(counter.get_total_flops()))

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision != "bf16-mixed":
            return nullcontext()
        # Without its cache, which would keep the weights as they were before a turn's step.
        return torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False)

    def _average_buffers(self) -> None:
        """Average what encoders keep beside weights: each process has seen cells of its own."""
        average([b for b in self.method.buffers() if b.is_floating_point()])

    def _set_learning_rates(self) -> None:
        done, total = self.extent.done_of_total(self.progress, self.method.clock.batches)
        factor = learning_rate_factor(done, total, self.schedule, self.extent.epochs)
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * factor

    # What a checkpoint holds.

    def state(self, *, optimizer: bool = True) -> dict[str, Any]:
        """Return the content of a checkpoint; every process has to call this.

        Args:
            optimizer: Include the optimizer's state, which continuing takes.
        """
        state = {
            "weights": self.trained_weights(),
            "progress": self.progress.state(),
            "sums": {name: (float(total), count) for name, (total, count) in self._sums.items()},
            "frozen": self.frozen_digest(),
            "data": self.data,
        }
        return state | ({"optimizer": self.optimizer.state_dict()} if optimizer else {})

    def load_state(self, content: Mapping[str, Any]) -> None:
        """Continue from the content of a checkpoint."""
        self.load_weights(content)
        load_optimizer(self.optimizer, content["optimizer"])
        self.progress = Progress(**content["progress"])
        for name, (total, count) in content["sums"].items():
            self._sums[name] = (torch.tensor(total, dtype=self._sum_type, device=self.device), count)

    def load_weights(self, content: Mapping[str, Any]) -> None:
        """Take the weights of a checkpoint."""
        self.method.load_state_dict(content["weights"], strict=False)  # frozen ones are not in it

    def trained_weights(self) -> dict[str, Any]:
        """Return what training changes: frozen weights are not written with every checkpoint."""
        frozen = {name for name, p in self.method.named_parameters() if not p.requires_grad}
        return {name: value for name, value in self.method.state_dict().items() if name not in frozen}

    def frozen_digest(self) -> str:
        """Return what identifies the frozen weights."""
        if self._frozen is None:
            self._frozen = weights_digest(p for p in self.method.parameters() if not p.requires_grad)
        return self._frozen
