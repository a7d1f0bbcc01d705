"""What makes a step fast must not change what it computes."""

import csv
import json
import random

import numpy as np
import pytest
import torch
from notes import Notes
from safetensors.torch import load_file
from torch._dynamo.backends.registry import lookup_backend

import altuna
from altuna.core import collectives as sharing
from altuna.data.dataset import MultimodalDataset, loader
from altuna.errors import DivergedError, UserError
from altuna.files import exclusive_folder
from altuna.methods.mla import MLA
from altuna.training import loop
from altuna.training.optimizers import OPTIMIZERS, match_gradient_layouts

COMPILE = torch.compile


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """63 train samples with two modalities of vectors: 16 batches of 4."""
    path = tmp_path_factory.mktemp("data") / "samples.csv"
    rng = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "label", "a_0", "a_1", "b_0", "b_1"])
        for i in range(100):
            split = ["train", "train", "train", "val", "test"][i // 3 % 5]
            writer.writerow([i, split, f"c{i % 3}", *(round(rng.gauss(i % 3, 1), 3) for _ in range(4))])
    return path


def fit(manifest, out, **options):
    return altuna.fit(manifest, out=out, **{"epochs": 2, "batch_size": 4, "quiet": True, **options})


def logged(run):
    with (run / "log.csv").open() as file:
        return [*csv.DictReader(file)]


@pytest.mark.parametrize("accelerated", [False, True])
def test_seeding_is_that_of_torch(monkeypatch, accelerated):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerated)
    sharing.seed(7)
    drawn = torch.rand(5)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(5))


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS])
def test_gradients_of_another_layout_step_alike(optimizer):
    """A fused step goes through memory in order, whatever the strides say."""
    weights = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    gradient = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1))
    stepped = []
    for layout in (torch.contiguous_format, torch.channels_last):
        parameter = torch.nn.Parameter(weights.clone().contiguous(memory_format=layout))
        chosen = OPTIMIZERS[optimizer]([parameter], 0.1, 0.01)
        parameter.grad = gradient.clone()
        match_gradient_layouts(chosen)
        chosen.step()
        stepped.append(parameter.detach())
    assert torch.allclose(*stepped, atol=1e-6)


def test_sgd_is_that_of_torch_also_where_parameters_begin_at_different_steps():
    stepped = []
    for make in (OPTIMIZERS["sgd"], lambda p, lr, decay: torch.optim.SGD(p, lr, 0.9, weight_decay=decay)):
        draws = torch.Generator().manual_seed(0)
        first, second, head = (torch.nn.Parameter(torch.randn(5, 3, generator=draws)) for _ in range(3))
        optimizer = make([first, second, head], 0.1, 0.01)
        for turn in (first, second, first, second):
            optimizer.zero_grad()
            for p in (turn, head):
                p.grad = torch.randn(5, 3, generator=draws)
            optimizer.step()
        stepped.append(torch.stack([first, second, head]).detach())
    assert torch.allclose(*stepped, atol=1e-6)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS])
def test_momentum_that_comes_in_another_layout_steps_alike(optimizer):
    draws = torch.Generator().manual_seed(0)
    weights = torch.randn(4, 3, 5, 5, generator=draws).to(memory_format=torch.channels_last)
    gradients = [torch.randn(4, 3, 5, 5, generator=draws) for _ in range(2)]
    stepped = []
    for layout in (torch.channels_last, torch.contiguous_format):
        parameter = torch.nn.Parameter(weights.clone())
        chosen = OPTIMIZERS[optimizer]([parameter], 0.1, 0.01)
        for gradient in gradients:
            parameter.grad = gradient.to(memory_format=torch.channels_last)
            chosen.step()
            saved = chosen.state_dict()
            of = {
                k: v.contiguous(memory_format=layout) if v.ndim == 4 else v
                for k, v in saved["state"][0].items()
            }
            chosen.load_state_dict({**saved, "state": {0: of}})
        stepped.append(parameter.detach())
    assert torch.allclose(*stepped, atol=1e-6)


def test_the_loop_lays_gradients_out_before_the_step(manifest, tmp_path, monkeypatch):
    fit(manifest, tmp_path / "plain")

    def transposed(method, turn, batch):
        for p in method.parameters():
            if p.grad is not None and p.ndim == 2:
                p.grad = p.grad.T.contiguous().T

    monkeypatch.setattr(altuna.methods.get("late_fusion"), "modify_gradients", transposed)
    fit(manifest, tmp_path / "transposed", method="late_fusion")
    monkeypatch.undo()
    fit(manifest, tmp_path / "as it comes", method="late_fusion")
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("transposed", "as it comes"))
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)


def test_logging_does_not_change_the_training(manifest, tmp_path):
    each, seldom = (
        fit(manifest, tmp_path / "each", log_every=1),
        fit(manifest, tmp_path / "seldom", log_every=7),
    )
    one, two = (load_file(run / "model.safetensors") for run in (each, seldom))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert logged(each)[0]["train/loss/a"] == logged(seldom)[0]["train/loss/a"]
    assert logged(each)[0]["train/interference/a"] != logged(seldom)[0]["train/interference/a"]


def test_about_twenty_batches_of_an_epoch_are_logged(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOGGED", 5)
    usual, third = fit(manifest, tmp_path / "usual"), fit(manifest, tmp_path / "third", log_every=3)
    assert logged(usual)[0]["train/interference/a"] == logged(third)[0]["train/interference/a"]


@pytest.mark.slow
def test_compiled_encoders_learn_the_same(manifest, tmp_path, monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)  # which needs no C++ compiler

    def compile_quickly(function, **options):
        return COMPILE(function, **options, backend=backend)

    monkeypatch.setattr(torch, "compile", compile_quickly)
    encoders = {"a": {"dropout": 0.0}, "b": {"dropout": 0.0}}
    runs = [fit(manifest, tmp_path / str(on), compile=on, encoders=encoders) for on in (False, True)]
    one, two = (load_file(run / "model.safetensors") for run in runs)
    assert (
        len(graphs) >= 3
    )  # to see whether it can be; with gradients and without (encoders of one form share)
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)
    cost, same = (json.loads((run / "metrics.json").read_text())["cost"] for run in runs)
    assert cost["flops_per_batch"] == same["flops_per_batch"] > 0


def test_compile_without_a_compiler(manifest, tmp_path, monkeypatch):
    def broken(function):
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(
        UserError, match=r"^compile: PyTorch cannot compile on this machine: no C\+\+ compiler$"
    ):
        fit(manifest, tmp_path / "run", compile=True)
    assert not (tmp_path / "run").exists()


def test_two_trainings_in_one_folder(manifest, tmp_path):
    with (
        exclusive_folder(tmp_path / "run", "..."),
        pytest.raises(UserError, match="run: another altuna trains there"),
    ):
        fit(manifest, tmp_path / "run")
    assert [*tmp_path.iterdir()] == []
    fit(manifest, tmp_path / "run")


def test_more_workers_than_a_machine_has_use_for(manifest, tmp_path):
    with pytest.raises(UserError, match=r"^workers must be at most \d+ on this machine, got 9999999$"):
        fit(manifest, tmp_path / "run", workers=9999999)


def test_a_part_larger_than_the_batch(manifest, tmp_path):
    with pytest.raises(UserError, match=r"^micro_batch must be at most batch_size \(4\), got 8$"):
        fit(manifest, tmp_path / "run", micro_batch=8)


def test_a_batch_larger_than_the_data(manifest, tmp_path):
    notes = Notes()
    fit(manifest, tmp_path / "run", batch_size=1000, reporter=notes)
    assert "batch_size=1000: an epoch is one batch of 63 samples" in notes.texts


def test_a_precision_that_scales_gradients(manifest, tmp_path):
    with pytest.raises(UserError, match=r"^precision: 16-mixed scales the gradients .* use bf16-mixed$"):
        fit(manifest, tmp_path / "run", precision="16-mixed")


def test_an_accelerator_that_is_not_there(manifest, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match="accelerator=gpu: this machine has no such device"):
        fit(manifest, tmp_path / "run", accelerator="gpu")
    assert not (tmp_path / "run").exists()


def test_two_sets_of_modalities_of_one_name_are_told(tmp_path):
    rows = [f"{i},{split},{i // 2 % 2},x{i},y{i},z{i}" for i, split in enumerate(["train", "val"] * 8)]
    (tmp_path / "table.csv").write_text("\n".join(["id,split,label,a,b,a+b", *rows]))
    kinds = {name: {"type": "text"} for name in ("a", "b", "a+b")}
    with pytest.raises(UserError, match=r"two sets of modalities are called 'a\+b': remove the"):
        altuna.fit(tmp_path / "table.csv", modalities=kinds, out=tmp_path / "run", quiet=True)
    some = {name: kinds[name] for name in ("a", "a+b")}
    altuna.fit(tmp_path / "table.csv", modalities=some, epochs=1, out=tmp_path / "run", quiet=True)


def test_in_bf16_a_turn_sees_what_the_one_before_has_changed(manifest, tmp_path, monkeypatch):
    """One autocast is around all turns of a batch; did it cache weights, they would be the first turn's."""
    loss, compared = MLA.loss, []

    def twice(method, turn, batch):
        torch.manual_seed(0)
        first = loss(method, turn, batch)
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            compared.append(torch.equal(first, loss(method, turn, batch)))
        return first

    monkeypatch.setattr(MLA, "loss", twice)
    fit(manifest, tmp_path / "run", precision="bf16-mixed", optimizer="sgd", lr=0.1)
    assert len(compared) > 2
    assert all(compared)


def test_bf16_that_is_not_native_is_remarked_on(manifest, tmp_path, monkeypatch):
    for native in (True, False):
        monkeypatch.setattr("altuna.hardware.multiplies_bf16", lambda native=native: native)
        notes, options = Notes(), {"precision": "bf16-mixed", "accelerator": "cpu", "epochs": 1}
        fit(manifest, tmp_path / str(native), reporter=notes, **options)
        assert ("bf16-mixed: this hardware has no native bf16" in " ".join(notes.texts)) is not native


def test_memory_is_page_locked_for_a_gpu_alone():
    dataset = MultimodalDataset({}, {}, np.zeros(4, np.int64))
    pinned = {
        kind: loader(dataset, 2, device=torch.device(kind)).pin_memory for kind in ("cpu", "cuda", "mps")
    }
    assert pinned == {"cpu": False, "cuda": True, "mps": False}


@pytest.mark.parametrize("method", ["mla", "concat"])
def test_a_last_step_that_diverges_leaves_nothing(manifest, tmp_path, method):
    for _ in range(2):
        with pytest.raises(DivergedError, match=r"diverged: .* in epoch 1"):
            fit(manifest, tmp_path / "run", method=method, epochs=1, batch_size=100, lr=1e30)
        assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_are_not_saved(manifest, tmp_path, monkeypatch):
    def spoil(self, *given):
        next(self.method.parameters()).data.fill_(np.inf)
        return {"epoch": 0.0, "val/nll/fused": 0.5}

    monkeypatch.setattr(loop.Loop, "validate", spoil)
    with pytest.raises(DivergedError, match=r"diverged: the weights .* are not finite in epoch 1"):
        fit(manifest, tmp_path / "run", epochs=1)
