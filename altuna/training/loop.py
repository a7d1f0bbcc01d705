"""The training loop: the only place with backward and step."""

from __future__ import annotations

import csv
import io
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.strategies import DDPStrategy
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from altuna.core.batch import Batch
from altuna.core.calibration import calibrate
from altuna.core.collectives import average, backward, everyone, rank, seed
from altuna.core.outputs import Features, Outputs, concatenate
from altuna.encoders.frozen import weights_digest
from altuna.errors import DivergedError, UserError
from altuna.evaluation.imbalance import conflicts
from altuna.evaluation.metrics import classification_metrics
from altuna.files import atomic_write, write_text
from altuna.methods.base import Method, Turn
from altuna.training.fsdp import clip_gradients, collected, part_of
from altuna.training.means import Mean
from altuna.training.optimizers import OPTIMIZERS, lay_out

LOGGED = 20  # batches of an epoch, unless log_every says otherwise
PARTS = 1000  # of a budget of seconds, for the learning rate


class Training(LightningModule):
    """Trains any method: for every turn of every batch forward, backward, the method's change, step.

    A turn updates the parameters that its loss reaches, and no others: gradients are cleared to None before
    it, and optimizers leave parameters without gradient alone, momentum and weight decay included.

    Everything random is seeded by (seed, epoch, batch) when a batch starts, so an epoch can be repeated
    exactly from the checkpoint before it.

    The optimizer steps without Lightning's wrapper: the trainer's ``global_step`` stays 0, and callbacks are
    not told of steps.

    It ends with the trainer's epochs or, if the trainer sets no end, with a budget: after the batch in which
    the encoder updates or the seconds are spent. A turn that trains k modalities makes k updates. Under a
    budget the learning rate follows the share of it that is spent.

    Args:
        method: What to do in which turn; owns the model.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
        lr: Highest learning rate.
        schedule: None: a linear warm-up over a twentieth of all batches, then a cosine towards 0. Or ``step``
            and ``gamma``: times ``gamma`` after every ``step`` of ``epochs`` (of that share of a budget).
        weight_decay: Of the optimizer.
        seed: Of dropout, transforms and whatever else draws numbers.
        log_every: Batches between those whose turns are logged one by one, with what costs time: gradient
            norms and interference. An even number meets turns that alternate in one order only. None: so many
            that about ``LOGGED`` of an epoch are.
        clip: Largest norm of a turn's gradient, as the method leaves it; None: any.
        max_updates: Budget of encoder updates.
        max_seconds: Budget of training seconds.
        epochs: Of the whole training; with a budget those to expect until the first one has ended.
        data: Identifies what it is trained on.
    """

    def __init__(
        self,
        method: Method,
        *,
        optimizer: str = "adamw",
        lr: float = 1e-3,
        schedule: Mapping[str, float] | None = None,
        weight_decay: float = 0.01,
        seed: int = 0,
        log_every: int | None = None,
        clip: float | None = None,
        max_updates: int | None = None,
        max_seconds: float | None = None,
        epochs: int = 1,
        data: str = "",
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.strict_loading = False  # see state_dict
        self.method = method
        self.optimizer, self.lr, self.schedule, self.weight_decay = optimizer, lr, schedule, weight_decay
        self.seed, self.log_every, self.clip = seed, log_every, clip
        self.max_updates, self.max_seconds, self.epochs = max_updates, max_seconds, epochs
        self.data = data
        self.updates, self.gone = 0, 0  # gone: batches of this epoch
        self._trained, self._flops = 0, 0  # those of them that had rows, and what the first of these took
        self._started, self._before = 0.0, 0.0  # of the epoch; its seconds before it was resumed
        self.interrupted = False  # asked to stop; done after a batch
        self.history: list[dict[str, float]] = []
        self._frozen: str | None = None
        self._means: dict[str, Mean] = defaultdict(Mean)  # of figures, over the epoch's batches
        self._outputs: list[tuple[Outputs, Features]] = []

    def configure_optimizers(self) -> Any:
        optimizer = OPTIMIZERS[self.optimizer](self._groups(), self.lr, self.weight_decay)
        total = self._total()
        warm = max(1, int(total) // 20)

        def factor(batch: int) -> float:
            done = self._done(batch)
            if self.schedule is not None:
                epoch = done * max(1, self.epochs) / total
                return float(self.schedule["gamma"] ** (epoch // self.schedule["step"]))
            return min((done + 1) / warm, 0.5 + 0.5 * _cosine((done - warm) / total))

        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, factor)]

    def _total(self) -> float:
        """Return how much training there will be: in batches, or in parts of its time."""
        if self.max_updates is not None:
            return max(1.0, self.max_updates / len(self.method.model.modalities))
        return PARTS if self.max_seconds is not None else max(1, int(self.trainer.estimated_stepping_batches))

    def _done(self, batch: int) -> float:
        """Return how much of it is done at a batch."""
        if self.max_updates is not None:
            return self.updates / len(self.method.model.modalities)
        return batch if self.max_seconds is None else PARTS * self._seconds() / self.max_seconds

    def _seconds(self) -> float:
        """Return the training seconds of all epochs so far, the present one included."""
        now = everyone(time.perf_counter() - self._started)[0] if self._started else 0.0
        return now + sum(row["seconds"] for row in self.history if "seconds" in row)

    def _stop_if_spent(self) -> None:
        by_updates = self.max_updates is not None and self.updates >= self.max_updates
        if by_updates or (self.max_seconds is not None and self._seconds() >= self.max_seconds):
            self.trainer.should_stop = True

    def _stop_if_asked(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt

    @property
    def _updates_before(self) -> float:
        """Encoder updates of the epochs before this one."""
        return max((row["updates"] for row in self.history if "updates" in row), default=0.0)

    @property
    def expected_epochs(self) -> int:
        """How many epochs there will be, as far as can be said when one starts."""
        done = self.current_epoch
        if self.max_updates is not None:
            spent, budget = self._updates_before, float(self.max_updates)
            first: float = len(self.method.model.modalities) * int(self.trainer.num_training_batches)
        elif self.max_seconds is not None:
            spent = sum(row["seconds"] for row in self.history)
            budget, first = self.max_seconds, self.max_seconds / self.epochs
        else:
            return self.trainer.max_epochs or 1
        return done + max(1, math.ceil((budget - spent) / (spent / done if done and spent else first)))

    def _groups(self) -> list[dict[str, Any]]:
        """Return the trained parameters by their learning rates; encoders', which may be split, apart."""
        encoders = self.method.model.encoders
        own = {p: getattr(e, "lr", None) or self.lr for e in encoders for p in e.parameters()}
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {(self.lr, False): []}
        for p in self.parameters():
            if p.requires_grad:
                groups.setdefault((own.get(p, self.lr), p in own), []).append(p)
        return [{"params": parameters, "lr": rate} for (rate, _), parameters in groups.items()]

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return what training changes: frozen weights are not written with every checkpoint."""
        frozen = {name for name, parameter in self.named_parameters() if not parameter.requires_grad}
        state = super().state_dict(*args, **kwargs)
        return {name: value for name, value in state.items() if name not in frozen}

    def frozen_digest(self) -> str:
        """Identify the frozen weights, which ``state_dict`` leaves out."""
        if self._frozen is None:
            frozen = (p for p in self.parameters() if not p.requires_grad)
            self._frozen = weights_digest(frozen)
        return self._frozen

    def on_train_start(self) -> None:
        self._stop_if_spent()  # resumed after its last epoch
        self._begin()

    def on_train_epoch_start(self) -> None:
        self._before, self._trained, self._flops = 0.0, 0, 0
        self._begin()

    def _begin(self) -> None:
        self._started = time.perf_counter() - self._before
        self.method.clock.epoch = self.current_epoch
        self.method.clock.epochs = self.expected_epochs
        self.method.clock.batches = int(self.trainer.num_training_batches)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        with _memory_watched("copying a batch to the device", len(batch)):
            return batch.to(device, non_blocking=device.type == "cuda")  # from page-locked memory

    def training_step(self, batch: Batch, number: int) -> None:
        self.gone = number + 1
        if not len(batch):  # of a stream: nothing in its rows could be read
            return
        # One batch of every epoch is enough: what a batch costs changes with a method's phases only.
        if self._trained:
            self._train_on(batch, number)
        else:
            # Not compiled: under a counter, PyTorch gives up compiling an encoder for good.
            with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
                self._train_on(batch, number)
            self._flops = counter.get_total_flops()
        self._trained += 1
        self._stop_if_spent()
        self._stop_if_asked()

    def _train_on(self, batch: Batch, number: int) -> None:
        # Not as Lightning wraps it: its hooks around a step took a tenth of a small batch's time.
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        self.method.clock.batch = self._trained
        seed(hash((self.seed, self.current_epoch, number)))
        # An odd number: those that alternate would be met in one of two states otherwise.
        every = self.log_every or (self.method.clock.batches // LOGGED) | 1
        wants_log = number % every == 0
        before: dict[nn.Parameter, Tensor] = {}
        for turn in self.method.turns(batch):
            turn.wants_log = wants_log
            optimizer.zero_grad()
            with _memory_watched(f"in the turn of {turn.name}", len(batch)):
                loss = self._backward(turn, batch)
                if wants_log:
                    before = self._log_conflict(turn, before)
                self.method.modify_gradients(turn, batch)
                lay_out(optimizer)
                if self.clip is not None:
                    turn.log["gradient"] = clip_gradients(self.parameters(), self.clip)
                optimizer.step()
                self.updates += len(turn.modalities)
                self.method.after_step(turn, batch)
            turn.log["loss"] = loss
            for figure, value in turn.log.items():
                self._means[f"train/{figure}/{turn.name}"].add(value)
            if wants_log and self.loggers:
                self._show({f"turn/{figure}/{turn.name}": value.item() for figure, value in turn.log.items()})
        schedule: Any = self.lr_schedulers()
        schedule.step()

    def _log_conflict(self, turn: Turn, before: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Tensor]:
        """Log how a turn's gradients conflict, and the head's with that before; return the head's."""
        head = {p: p.grad.clone() for p in self.method.model.head.parameters() if p.grad is not None}
        share = conflicts([(before, head), *combinations(turn.gradients.values(), 2)])
        if share is not None:
            turn.log["conflict"] = share
        return head

    def _backward(self, turn: Turn, batch: Batch) -> Tensor:
        """Leave the gradient of a turn's loss, or of the sum of several, in the parameters; return it."""
        losses = self.method.loss(turn, batch)
        if isinstance(losses, Tensor):
            # Not by Lightning's manual_backward, whose hooks took a tenth of a small batch's time.
            backward(losses, self)
            return losses.detach()
        parameters = [p for p in self.parameters() if p.requires_grad]
        for number, (name, loss) in enumerate(losses.items()):
            backward(loss, self, retain_graph=number < len(losses) - 1)
            turn.gradients[name] = {p: p.grad for p in parameters if p.grad is not None}
            for p in turn.gradients[name]:
                p.grad = None
        for gradients in turn.gradients.values():
            for p, gradient in gradients.items():
                p.grad = gradient.clone() if p.grad is None else p.grad.add_(gradient)
        return torch.stack([loss.detach() for loss in losses.values()]).sum()

    def on_train_epoch_end(self) -> None:
        means = {name: mean.value() for name, mean in self._means.items()}
        self._means.clear()
        for name, mean in means.items():
            if name.startswith("train/loss/") and not math.isfinite(mean):
                raise DivergedError(f"diverged: {name} is {mean} in epoch {self.current_epoch}")
        self.method.after_epoch()
        seconds, self._started = everyone(time.perf_counter() - self._started)[0], 0.0
        if self.max_updates is not None and self.updates == self._updates_before:
            raise UserError("a budget of encoder updates cannot be spent: the method makes none")
        self.history[-1] |= {"seconds": seconds, "updates": self.updates, "flops": sum(everyone(self._flops))}
        self.history[-1] |= means
        self._show(self.history[-1])

    def _show(self, figures: dict[str, float]) -> None:
        batches = self.current_epoch * self.method.clock.batches + self.gone
        for logger in self.loggers:
            logger.log_metrics(figures, batches)

    def on_validation_epoch_start(self) -> None:
        self.average_buffers()

    def average_buffers(self) -> None:
        """Agree on what encoders keep beside their weights: each process has met cells of its own."""
        average([b for b in self.buffers() if b.is_floating_point()])

    def validation_step(self, batch: Batch, number: int) -> None:
        model = self.method.model
        features = {}
        for m, x in batch.inputs.items():
            with _memory_watched(f"in validation, encoding {m}", len(batch)):
                features[m] = model.encode(m, x)
        outputs = model.outputs_of(features, batch.rows, len(batch))
        # Joint fusion is calibrated on what the head makes of fewer modalities, which takes their features.
        kept = {m: f.to(model.temperatures) for m, f in features.items()} if model.fusion == "joint" else {}
        self._outputs.append((outputs, Features(kept, batch.rows, batch.labels)))
        self._stop_if_asked()

    def on_validation_epoch_end(self) -> None:
        model = self.method.model
        outputs, labels = concatenate([(o, f.labels) for o, f in self._outputs])
        features = Features.joined([f for _, f in self._outputs])
        self._outputs.clear()
        # Fitted before selection, so that epochs are compared as they would be used.
        calibrate(model, outputs, labels, features)
        fused = classification_metrics(model.fuse(outputs).probabilities, labels)
        row: dict[str, float] = {"epoch": self.current_epoch}
        row |= {f"val/{figure}/fused": value for figure, value in fused.items()}
        for i, name in enumerate(model.modalities):
            mine = outputs.present[i]
            if mine.any():
                right = outputs.logits[i, mine].argmax(-1) == labels[mine]
                row[f"val/accuracy/{name}"] = right.float().mean().item()
        self.history.append(everyone(row)[0])  # that all choose the same epoch, come what may of rounding

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history
        checkpoint["frozen"], checkpoint["data"] = self.frozen_digest(), self.data
        checkpoint["updates"] = self.updates
        # Of the epoch that has not ended, if it is within one.
        checkpoint["batches"] = self.gone if self._started else 0
        checkpoint["means"] = {name: mean.state() for name, mean in self._means.items()}
        checkpoint["trained"], checkpoint["flops"] = self._trained, sum(everyone(self._flops))
        checkpoint["seconds"] = time.perf_counter() - self._started if self._started else 0.0

    def on_load_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        self.history = list(checkpoint["history"])
        self.updates = checkpoint["updates"]
        self._means.update({name: Mean(*state) for name, state in checkpoint["means"].items()})
        self.gone, self._trained = checkpoint["batches"], checkpoint["trained"]
        self._flops = checkpoint["flops"] if rank() == 0 else 0  # of all processes, whose number may differ
        self._before = checkpoint["seconds"]


@contextmanager
def _memory_watched(where: str, rows: int) -> Iterator[None]:
    """Make of an allocation that fails an error that says where, and what to lower."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # only that of some devices has a class of its own
        signs = ("allocate memory", "out of memory", "alloc_failed")
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in signs):
            raise
        raise UserError(
            f"out of memory {where}, with a batch of {rows} rows: lower batch_size, set "
            "micro_batch (rows encoded at once), or take a smaller encoder"
        ) from error


def _cosine(share: float) -> float:
    return math.cos(math.pi * min(1.0, max(0.0, share)))


class Alike(DDPStrategy):
    """Lightning's processes without its wrapper; ``altuna.core.collectives`` has what they exchange."""

    def configure_ddp(self) -> None:
        """Leave the model as it is."""

    # Checkpoints have everything whole, so that any number of processes and either strategy can go on.

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return {k: collected(v) for k, v in super().lightning_module_state_dict().items()}

    def optimizer_state(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        state: Any = super().optimizer_state(optimizer)
        return {
            **state,
            "state": {i: {k: collected(v) for k, v in of.items()} for i, of in state["state"].items()},
        }

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        mine = self.lightning_module.state_dict()
        state = {k: part_of(v, mine.get(k)) for k, v in checkpoint["state_dict"].items()}
        super().load_model_state_dict({"state_dict": state}, strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        states = []
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            mine = dict(enumerate(p for group in optimizer.param_groups for p in group["params"]))
            parts = {
                i: {k: part_of(v, mine.get(i)) for k, v in of.items()} for i, of in state["state"].items()
            }
            states.append({**state, "state": parts})
        super().load_optimizer_state_dict({"optimizer_states": states})


class AtomicCheckpointIO(TorchCheckpointIO):
    """A checkpoint appears under its name only when all of it is on disk."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as unfinished, unfinished.open("wb") as file:
            try:
                torch.save(checkpoint, file)
            except RuntimeError as error:  # what torch makes of a full disk, and of Ctrl-C
                cause = error.__context__
                raise (cause if isinstance(cause, OSError | KeyboardInterrupt) else error) from None


class LogCsv(Checkpoint):
    """Writes ``log.csv`` after every epoch: a row an epoch, a column a figure.

    It is a kind of checkpoint so that Lightning calls it after the training's own hooks.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Training)
        if not trainer.is_global_zero:
            return
        names = dict.fromkeys(name for row in pl_module.history for name in row)
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(pl_module.history)
        write_text(self.path, text.getvalue())


class Checkpoints(Checkpoint):
    """Keeps ``last.ckpt``, to resume from, and ``best.ckpt``, the weights of the best epoch by validation.

    The best epoch has the lowest negative log-likelihood of the fused validation predictions: steadier than
    their accuracy where validation is small. It is found anew from the history each time, so it needs no
    state and survives a moved folder.

    Args:
        folder: Where they go.
        every: Batches of an epoch after which ``last.ckpt`` is written anew; None: only when it ends.
    """

    def __init__(self, folder: Path, every: int | None = None) -> None:
        self.last, self.best, self.every = folder / "last.ckpt", folder / "best.ckpt", every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, Training)
        done = batch_idx + 1
        ends = trainer.should_stop or done >= trainer.num_training_batches
        if self.every and done % self.every == 0 and not ends:
            pl_module.average_buffers()
            trainer.save_checkpoint(self.last)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Training)
        # In this order: of a kill in between it can be told that the best epoch is the last.
        trainer.save_checkpoint(self.last)
        if best_epoch(pl_module.history) == len(pl_module.history) - 1:
            trainer.save_checkpoint(self.best, weights_only=True)


def best_epoch(history: list[dict[str, float]]) -> int:
    """Return the position of the epoch that validation prefers, the first among equals."""
    losses = [row["val/nll/fused"] for row in history]
    finite = [loss if math.isfinite(loss) else math.inf for loss in losses]
    return finite.index(min(finite))
