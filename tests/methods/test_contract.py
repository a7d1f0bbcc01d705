"""One contract for every method: it trains, it says what it should, and the same seed repeats it."""

import numpy as np
import pytest
import torch

import altuna
from altuna.core.heads import HEADS, CascadeHead
from altuna.data.dataset import MultimodalDataset, loader
from altuna.errors import DivergedError, UserError
from altuna.methods.base import Method, Turn
from altuna.methods.parts.joint_turn import with_expert
from altuna.training.loop import Loop

CLASSES, SAMPLES = 3, 48


def data(modalities, missing, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=SAMPLES)
    arrays, position = {}, {}
    keep = rng.integers(modalities, size=SAMPLES)
    for i in range(modalities):
        size = 4 + i
        values = rng.normal(size=(SAMPLES, size)) + 2 * np.eye(CLASSES, size)[labels]
        arrays[f"m{i}"] = values.astype(np.float32)
        gone = (rng.random(SAMPLES) < 0.5) & (keep != i) & missing
        position[f"m{i}"] = np.where(gone, -1, np.arange(SAMPLES))
    return MultimodalDataset(arrays, position, labels)


# With a joint expert: a method's name and the form of the expert.
EXPERTS = ("late_fusion detached", "mla turn", "late_fusion apart")


def kind_of(name):
    method, _, form = name.partition(" ")
    return with_expert(altuna.methods.get(method), form or "off")


def method_for(name, dataset, frozen=0, **options):
    kind = kind_of(name)
    torch.manual_seed(0)
    chosen = kind.select([*dataset.arrays])
    encoders = {
        m: torch.nn.Sequential(torch.nn.Linear(dataset.arrays[m].shape[1], 8 + i), torch.nn.ReLU())
        for i, m in enumerate(chosen)
    }
    for encoder in [*encoders.values()][:frozen]:
        encoder.requires_grad_(requires_grad=False)
    if kind.expert != "off":
        own = chosen if kind.expert == "apart" else ()
        options["expert"] = {m: torch.nn.Linear(dataset.arrays[m].shape[1], 5) for m in own}
    return kind(altuna.MultimodalClassifier(encoders, CLASSES, head=kind.head, **options))


def trained(name, dataset, epochs=6, precision="32-true", method=None, clip=None):
    method = method or method_for(name, dataset)
    dataset = MultimodalDataset(
        {m: dataset.arrays[m] for m in method.model.modalities},
        {m: dataset.position[m] for m in method.model.modalities},
        dataset.labels,
    ).masked(np.ones((len(method.model.modalities), SAMPLES), dtype=bool))
    loop = Loop(method, lr=0.03, clip=clip, epochs=epochs, precision=precision)
    loop.run(loader(dataset, 16, 0), loader(dataset, 16))
    return loop, dataset


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("name", [*altuna.methods.list(), *EXPERTS])
def test_every_method_trains_predicts_saves_and_repeats(name, modalities, missing):
    if modalities < kind_of(name).min_modalities:
        with pytest.raises(ValueError, match="needs 2 modalities or more"):
            method_for(name, data(modalities, missing))
        return
    dataset = data(modalities, missing)
    before = {k: v.clone() for k, v in method_for(name, dataset).model.state_dict().items()}
    training, used = trained(name, dataset)
    state = training.trained_weights()
    again = trained(name, dataset)[0].trained_weights()
    assert all(torch.equal(again[k], v) for k, v in state.items()), "same seed, another result"

    model = training.method.model
    for key, value in model.state_dict().items():
        if key.startswith(("encoders", "head", "expert")):
            assert not torch.equal(value, before[key]), f"{key} was never trained"

    other = method_for(name, dataset)
    other.load_state_dict(state)
    batch = used[range(len(used))]
    model.eval()
    other.eval()
    first, second = (m(batch.inputs, batch.rows, len(batch)) for m in (model, other.model))
    assert torch.equal(first.logits, second.logits)
    assert first.unimodal_logits.shape == (len(model.modalities), len(used), CLASSES)
    torch.testing.assert_close(first.weights.sum(0), torch.ones(len(used)))
    assert (first.weights[~first.present] == 0).all()

    row = training.progress.history[-1]
    for turn in {t.name for t in training.method.turns(batch)}:
        assert np.isfinite(row[f"train/loss/{turn}"])
    assert row["val/accuracy/fused"] > 1.2 / CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("name", [*altuna.methods.list(), *EXPERTS])
def test_every_method_trains_in_bf16(name):
    """The default precision where the hardware has it; past every method's warm-up."""
    training, _ = trained(name, data(2, True), epochs=8, precision="bf16-mixed")
    assert all(np.isfinite(row["val/nll/fused"]) for row in training.progress.history)
    assert len(training.progress.history) == 8


@pytest.mark.slow
@pytest.mark.parametrize("name", altuna.methods.list())
def test_every_method_takes_a_frozen_encoder(name):
    dataset = data(2, True)
    method = method_for(name, dataset, frozen=1)
    frozen = method.model.encoders[0]
    before = [p.clone() for p in frozen.parameters()]
    training, _ = trained(name, dataset, method=method)
    assert all(torch.equal(p, b) for p, b in zip(frozen.parameters(), before, strict=True))
    assert np.isfinite(training.progress.history[-1]["val/nll/fused"])


HEADS_OF = {name: HEADS[altuna.methods.get(name).head] for name in altuna.methods.list()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n for n, head in HEADS_OF.items() if head.is_joint and not issubclass(head, CascadeHead)]
)
def test_every_joint_method_imputes_means(name):
    dataset = data(3, True)
    method = method_for(name, dataset, impute="mean")
    training, used = trained(name, dataset, epochs=8, method=method)
    other = method_for(name, dataset, impute="mean")
    other.load_state_dict(training.trained_weights())
    batch = used[range(len(used))]
    first, second = (m.model.eval()(batch.inputs, batch.rows, len(batch)) for m in (method, other))
    assert torch.equal(first.logits, second.logits)
    assert (method.model.met > SAMPLES).all()
    assert training.progress.history[-1]["val/accuracy/fused"] > 1.2 / CLASSES


@pytest.mark.parametrize("name", [*altuna.methods.list(), *EXPERTS])
def test_every_method_says_that_it_diverged(name):
    dataset = data(2, True)
    for values in dataset.arrays.values():
        values[:] = np.nan
    with pytest.raises(DivergedError, match=r"diverged: .* is nan in epoch 1"):
        trained(name, dataset)


def test_hooks_fire_in_order_for_every_turn():
    dataset = data(2, False)
    calls = []

    class Spy(Method):
        def turns(self, batch):
            calls.append("turns")
            return super().turns(batch)

        def loss(self, turn, batch):
            calls.append(f"loss {turn.name}")
            assert all(p.grad is None for p in self.parameters())
            self.before = self.model.head.linear.weight.detach().clone()
            return super().loss(turn, batch)

        def modify_gradients(self, turn, batch):
            calls.append(f"modify_gradients {turn.name}")
            trained = {
                m
                for m, e in zip(self.model.modalities, self.model.encoders, strict=True)
                if e[0].weight.grad is not None
            }
            assert trained == set(turn.modalities)
            assert torch.equal(self.before, self.model.head.linear.weight)

        def after_step(self, turn, batch):
            calls.append(f"after_step {turn.name}")
            assert not torch.equal(self.before, self.model.head.linear.weight)

        def after_epoch(self):
            calls.append("after_epoch")

    torch.manual_seed(0)
    encoders = {m: torch.nn.Sequential(torch.nn.Linear(a.shape[1], 8)) for m, a in dataset.arrays.items()}
    loop = Loop(Spy(altuna.MultimodalClassifier(encoders, CLASSES)), epochs=2)
    loop.run(loader(dataset, 24, 0), loader(dataset, 24))
    turn = [f"{hook} {m}" for m in ("m0", "m1") for hook in ("loss", "modify_gradients", "after_step")]
    assert calls == (["turns", *turn] * 2 + ["after_epoch"]) * 2


def test_a_misspelled_hook_is_refused():
    with pytest.raises(TypeError, match="did you mean 'after_step'"):
        type("Wrong", (Method,), {"after_steps": lambda self, turn, batch: None})


def test_only_the_modalities_of_a_turn_cost_anything():
    dataset = data(2, False)
    dataset.position["m1"][:] = -1
    method = method_for("mla", dataset)
    assert [t.name for t in method.turns(dataset[range(8)])] == ["m0"]
    assert isinstance(next(iter(method.turns(dataset[range(8)]))), Turn)


def test_late_fusion_makes_as_many_updates_as_mla():
    dataset = data(3, True)
    steps = {
        name: len([*method_for(name, dataset).turns(dataset[range(16)])]) for name in ("mla", "late_fusion")
    }
    assert steps["mla"] == steps["late_fusion"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [*altuna.methods.list(), *EXPERTS])
def test_encoding_in_parts_changes_nothing_but_memory(name):
    dataset = data(2, True)
    whole = trained(name, dataset, epochs=2)[0].method.model.state_dict()
    method = method_for(name, dataset)
    method.model.micro_batch = 5
    parts = trained(name, dataset, epochs=2, method=method)[0].method.model.state_dict()
    for key, value in whole.items():
        torch.testing.assert_close(parts[key], value, rtol=1e-4, atol=1e-5)


def test_encoding_in_parts_never_encodes_more():
    seen = []

    class Spy(torch.nn.Linear):
        def forward(self, x):
            seen.append(len(x))
            return super().forward(x)

    model = altuna.MultimodalClassifier({"a": torch.nn.Sequential(Spy(4, 3), torch.nn.Dropout(0.5))}, 2,
                                        feature_sizes={"a": 3})  # fmt: skip
    model.micro_batch = 8
    x = torch.randn(20, 4)
    torch.manual_seed(0)
    features = model.encode("a", x)
    features.sum().backward()
    assert sorted(seen) == [4, 4, 8, 8, 8, 8]  # once forward and once for backward
    kept = (features != 0).float() * 2  # dropout fell the same way both times
    expected = kept.T @ x
    torch.testing.assert_close(model.encoders[0][0].weight.grad, expected)
    seen.clear()
    with torch.no_grad():
        model.encode("a", x)
    assert seen == [8, 8, 4]


@pytest.mark.parametrize("clip", [None, 0.01])
def test_clipping_bounds_the_gradient_of_a_turn(clip):
    norms = []

    class Spy(altuna.methods.get("mla")):
        def after_step(self, turn, batch):
            gradients = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            norms.append(torch.stack(gradients).norm().item())
            super().after_step(turn, batch)

    dataset = data(2, False)
    trained("mla", dataset, epochs=1, method=Spy(method_for("mla", dataset).model), clip=clip)
    assert max(norms) <= 0.01001 if clip else max(norms) > 0.1


NO_MEMORY = [
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
]


@pytest.mark.parametrize("error", NO_MEMORY)
def test_out_of_memory_says_whose_turn(error, monkeypatch):
    dataset = data(2, False)
    method = method_for("mla", dataset)
    real = method.model.encode

    def encode(modality, inputs):
        if modality == "m1":
            raise error
        return real(modality, inputs)

    monkeypatch.setattr(method.model, "encode", encode)
    with pytest.raises(UserError, match="out of memory in the turn of m1, with a batch of 16 rows: lower"):
        trained("mla", dataset, method=method)


@pytest.mark.parametrize(
    ("training", "where"), [(True, "in the turn of m0"), (False, "in validation, when m0 was encoded")]
)
def test_out_of_memory_in_a_step_and_in_validation(training, where, monkeypatch):
    dataset = data(2, False)
    method = method_for("mla", dataset)
    if training:  # where optimizers allocate their state
        monkeypatch.setattr(torch.optim.AdamW, "step", lambda *_: torch.empty(2**60))
    else:
        real = method.model.encode
        monkeypatch.setattr(
            method.model, "encode", lambda m, x: real(m, x) if method.model.training else torch.empty(2**60)
        )
    with pytest.raises(UserError, match=f"out of memory {where}"):
        trained("mla", dataset, method=method)


def test_the_learning_rate_falls_in_steps():
    dataset, rates = data(2, False), []

    class Spy(altuna.methods.get("mla")):
        def after_epoch(self):
            rates.append(loop.optimizer.param_groups[0]["lr"])
            super().after_epoch()

    method = Spy(method_for("mla", dataset).model)
    loop = Loop(method, lr=0.1, schedule={"step": 2, "gamma": 0.5}, epochs=5)
    loop.run(loader(dataset, 16, 0), loader(dataset, 16))
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025])
