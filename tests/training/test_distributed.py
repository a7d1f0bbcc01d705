"""Trainings in two processes come to what they come to in one."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
from process import BATCH, CASES, case, interrupted, rare
from safetensors.torch import load_file

import altuna
from altuna.core.collectives import Share, encoded
from altuna.data.dataset import BatchSampler
from altuna.errors import UserError
from altuna.reporting import Reporter
from altuna.training.distributed import Placement, placement, processes_to_start

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """All trainings of process.py, in this process and in two."""
    alone, both = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("both")
    interrupted(alone / "first half")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    script = Path(__file__).with_name("process.py")
    with subprocess.Popen([*torchrun, script, alone, both]) as process:
        for name in CASES:
            case(alone, name)
    assert process.returncode == 0
    interrupted(alone / "second half", both / "first half")
    interrupted(alone / "its own second half", alone / "first half")
    return alone, both


def state(folder, rank=0):
    return torch.load(folder / f"state{rank}.pt", weights_only=True)


def assert_alike(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(
            other[key], value, rtol=1e-5, atol=1e-5, msg=lambda m, key=key: f"{key}: {m}"
        )


def test_the_data_have_batches_with_one_cell_and_with_none():
    dataset = rare()
    assert len(dataset) % BATCH
    sampler = BatchSampler(len(dataset), BATCH, shuffle_seed=0)
    cells = set()
    for epoch in range(4):
        sampler.set_epoch(epoch)
        cells |= {int((dataset.position["m2"][batch] >= 0).sum()) for batch in sampler}
    assert cells >= {0, 1, 3}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_come_to_what_one_does(folders, name):
    alone, both = (state(folder / name) for folder in folders)
    assert_alike(alone, both)
    one, two = (torch.load(folder / name / "history0.pt") for folder in folders)
    for mine, theirs in zip(one, two, strict=True):
        assert mine.keys() == theirs.keys()
        same = {k: v for k, v in mine.items() if k not in ("seconds", "flops")}
        assert same == pytest.approx({k: theirs[k] for k in same}, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize("name", [*CASES, "normalised"])
def test_all_processes_have_the_same(folders, name):
    first, second = (state(folders[1] / name, rank) for rank in (0, 1))
    for key, value in first.items():
        assert torch.equal(second[key], value), key
    one, two = (torch.load(folders[1] / name / f"history{rank}.pt") for rank in (0, 1))
    assert one == two


def test_a_training_goes_on_in_another_number_of_processes(folders):
    alone, both = folders
    whole = state(alone / "its own second half")
    assert_alike(whole, state(alone / "qmf"))
    assert_alike(whole, state(both / "second half"))
    assert_alike(whole, state(alone / "second half"))


def test_one_process_writes(folders):
    run = folders[1] / "mla"
    assert len((run / "log.csv").read_text().splitlines()) == 5
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert len([*run.glob("events*")]) == 1


def test_a_share_keeps_its_places():
    cells = torch.arange(10.0).unsqueeze(1)
    shares = [Share(cells[r::3], torch.arange(r, 10, 3), 10) for r in range(3)]
    for keep in (torch.arange(10) % 4 == 1, torch.arange(10) == 5, torch.zeros(10, dtype=torch.bool)):
        kept = [share[keep] for share in shares]
        assert {share.total for share in kept} == {int(keep.sum())}
        again = torch.full((int(keep.sum()), 1), -1.0)
        for share in kept:
            assert len(share.values) == max(1, len(share.places))
            again[share.places] = share.values[: len(share.places)]
        assert torch.equal(again, cells[keep])
    assert torch.equal(encoded(torch.nn.Identity(), cells), cells)


def test_gradients_that_share_memory_are_added_up_once(monkeypatch):
    """Two processes with the same gradients: what comes is what one would have."""
    from altuna.core import collectives as sharing

    module = torch.nn.ParameterList(
        [torch.ones(600, 600), torch.ones(600, 600), torch.ones(3), torch.ones(3)]
    )

    def all_reduce(tensor, *given, async_op=False, **more):
        if tensor.is_floating_point():
            tensor *= 2
        return SimpleNamespace(wait=lambda: None)

    monkeypatch.setattr(sharing, "processes", lambda: 2)
    monkeypatch.setattr(sharing.distributed, "all_reduce", all_reduce)
    # One tensor is the gradient of both terms.
    sharing.backward((module[0].view(-1) + module[1].view(-1)).sum() + (module[2] + module[3]).sum(), module)
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in module)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "samples.csv"
    rng = random.Random(0)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", *(f"a_{i}" for i in range(3)), *(f"b_{i}" for i in range(4))])
        for i in range(120):
            a, b = ([round(rng.gauss(i % 3, 1), 3) for _ in range(n)] for n in (3, 4))
            writer.writerow(
                [i, f"class {i % 3}", *(a if i % 5 else [""] * 3), *(b if i % 3 or not i % 5 else [""] * 4)]
            )
    return path


def fit(manifest, out, devices, *more):
    modality = "{name: mlp, dropout: 0, hidden: 16, out_features: 8}"
    command = [
        sys.executable,
        "-m",
        "altuna",
        "fit",
        "--data",
        manifest,
        "--out",
        out,
        "--accelerator",
        "cpu",
        "--no-report",
    ]
    command += ["--precision", "32-true", "--epochs", "4", "--batch-size", "16", "--devices", str(devices)]
    for name in ("a", "b"):  # nothing in them draws numbers
        command += ["--set", f"encoders.{name}={modality}", "--set", f"transforms.{name}={{}}"]
    command += more

    def interruptible():  # also when the tests themselves run in the background, where a shell has it ignored
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, preexec_fn=interruptible, **pipes)


def test_the_command_line_from_start_to_end(manifest, tmp_path):
    runs = [tmp_path / name for name in ("one", "two")]
    printed = []
    for devices, run in enumerate(runs, 1):
        process = fit(manifest, run, devices)
        printed.append(process.communicate(timeout=300))
        assert process.returncode == 0, printed
    assert_alike(*(load_file(run / "model.safetensors") for run in runs))
    first, second = (json.loads((run / "metrics.json").read_text()) for run in runs)
    assert first["fused"] == pytest.approx(second["fused"], abs=1e-4)
    assert {p.name for p in runs[0].iterdir()} - {p.name for p in runs[1].iterdir()} == {
        p.name for p in runs[0].glob("events*")
    }
    (one, one_err), (two, two_err) = printed
    assert two.count("results in") == one.count("results in") == 1
    # The C++ runtime may print a line when a process ends under load while threads of a library still run.
    told = [line for line in two_err.splitlines() if not line.startswith("terminate called without")]
    assert told == [line.replace("one", "two") for line in one_err.splitlines()]


def test_interrupted_by_a_signal_to_the_command_alone(manifest, tmp_path):
    """As by a supervisor or the stop button of a notebook, which no terminal passes on."""
    run = tmp_path / "run"
    process = fit(manifest, run, 2, "--set", "epochs=5000")
    while process.poll() is None and not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"altuna: interrupted; continue with: altuna fit --resume --out {run}"


def test_a_stream_is_the_same_in_two_processes(manifest, tmp_path):
    pyarrow.parquet.write_table(pyarrow.csv.read_csv(manifest), tmp_path / "shard.parquet")
    runs = [tmp_path / name for name in ("one", "two")]
    for devices, run in enumerate(runs, 1):
        process = fit(manifest, run, devices, "--stream", tmp_path / "shard.parquet", "--buffer", "50")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert_alike(*(load_file(run / "model.safetensors") for run in runs))


def test_killed_within_an_epoch_and_resumed_in_one_process(manifest, tmp_path):
    run, whole = tmp_path / "run", tmp_path / "whole"
    process = fit(manifest, whole, 1)
    process.communicate(timeout=300)
    process = fit(manifest, run, 2, "--checkpoint-every", "1")
    while process.poll() is None and not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    process = fit(manifest, run, 1, "--resume")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert_alike(*(load_file(one / "model.safetensors") for one in (whole, run)))
    one, two = ([*csv.DictReader((folder / "log.csv").open())] for folder in (whole, run))
    assert len(one) == len(two) == 4
    # Both processes compute the head: the sum is more than one's.
    assert all(float(a["flops"]) <= float(b["flops"]) for a, b in zip(one, two, strict=True))


def test_a_mistake_is_one_line(manifest, tmp_path):
    # Found by the processes, and by the one that starts them.
    for more in (["--set", "encoders.a.hiden=3"], ["--devices", "4096"]):
        process = fit(manifest, tmp_path / "run", 2, *more)
        out, err = process.communicate(timeout=300)
        assert (process.returncode, out, len(err.splitlines())) == (2, "", 1), err
        assert not (tmp_path / "run").exists()
    assert "devices=4096: this machine has" in err


def test_slurm_and_torchrun_say_how_many_there_are(monkeypatch):
    assert placement() is None
    slurm = {
        "STEP_ID": "0",
        "NTASKS": "4",
        "NTASKS_PER_NODE": "2",
        "NNODES": "2",
        "LOCALID": "1",
        "PROCID": "3",
    }
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert placement() == Placement(rank=3, local_rank=1, devices=2, nodes=2)
    assert processes_to_start(None, None, "cpu") == processes_to_start(2, 2, "cpu") == 0
    with pytest.raises(UserError, match="devices=4, nodes=None: torchrun or Slurm started devices=2"):
        processes_to_start(4, None, "cpu")
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "WORLD_SIZE": "2",
        "RANK": "0",
        "LOCAL_RANK": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GROUP_WORLD_SIZE", "1")
    assert placement() == Placement(rank=0, local_rank=0, devices=2, nodes=1)
    assert processes_to_start(2, 1, "cpu") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"devices": 0}, "devices must be at least 1"),
        ({"nodes": 2}, "nodes=2: start altuna on each machine with torchrun"),
        ({"devices": 2, "accelerator": "gpu"}, "devices=2: this machine has 0 GPUs"),
        ({"devices": 2, "accelerator": "gpuu"}, "accelerator: no 'gpuu'; did you mean 'gpu'"),
        ({"precision": "17"}, "precision: no '17'"),
    ],
)
def test_impossible_options_are_refused_before_training(options, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=message):
        altuna.fit(**options)


def test_a_reporter_that_cannot_be_pickled_is_refused_first(manifest, tmp_path):
    reporter = Reporter()
    reporter.note = lambda text: None
    with pytest.raises(UserError, match=r"^reporter: cannot be sent to 2 processes") as error:
        altuna.fit(manifest, devices=2, accelerator="cpu", out=tmp_path / "run", reporter=reporter)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_job_of_slurm_that_is_alone_trains_as_without(manifest, tmp_path, monkeypatch):
    for name, value in {"STEP_ID": "0", "NTASKS": "1", "LOCALID": "0", "PROCID": "0", "JOB_ID": "7"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.chdir(tmp_path)
    altuna.fit(manifest, epochs=1, out="run", store="store", report=False, quiet=True)
    assert (tmp_path / "run" / "metrics.json").exists()


def test_a_single_epoch_of_folds_in_two_processes(manifest, tmp_path):
    """The last checkpoint of a training is read as soon as it is written."""
    process = fit(manifest, tmp_path / "run", 2, "--epochs", "1", "--folds", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert (tmp_path / "run" / "metrics.json").exists()
