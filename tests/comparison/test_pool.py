"""Processes of a comparison that fail, are killed or interrupted, or run elsewhere."""

import os
import signal
import threading
import time
from pathlib import Path

import command
import joblib
import pytest
from distributed import Client, LocalCluster
from toys import FAST, arguments, read, status

from altuna.cli.compare import show
from altuna.comparison.compare import compare
from altuna.comparison.pool import KILLED, Run, train
from altuna.errors import DivergedError, UserError
from altuna.terminal.console import TerminalReporter


@pytest.mark.slow
def test_a_failing_run_is_reported(manifest, tmp_path, here, monkeypatch, capsys):
    from altuna.comparison.pool import fit

    errors = {
        "concat": (DivergedError("diverged in epoch 1"), "diverged in epoch 1"),
        "sum": (MemoryError(), "MemoryError"),
        "unimodal": (ValueError("x\ny"), "ValueError: x"),
    }

    def fails(**options):
        name = options["method"]["name"]
        if name in errors and options["seed"] == 0:
            raise errors[name][0]
        return fit(**options)

    given = {"methods": "concat,late_fusion,sum,unimodal:a", "seeds": 2, "out": tmp_path / "out", **FAST}
    with monkeypatch.context() as patch:
        patch.setattr("altuna.comparison.pool.fit", fails)
        compare(manifest, reporter=TerminalReporter(), **given)
    show(tmp_path / "out")
    expected = {
        f"toy-{m}-{s}": "finished" for s in (0, 1) for m in ("concat", "late_fusion", "sum", "unimodal-a")
    }
    reasons = {
        f"toy-{m}-0": reason
        for m, (_, reason) in zip(("concat", "sum", "unimodal-a"), errors.values(), strict=True)
    }
    assert status(tmp_path / "out") == expected | reasons
    concat, late, *_ = read(tmp_path / "out")["results"]
    assert (concat["seeds"], concat["failed"], concat["metrics"]["accuracy"]["sd"]) == ([1], 1, None)
    assert late["versus"]["reference"] == "concat"  # mla is not among them
    printed = capsys.readouterr()
    for folder, reason in reasons.items():
        assert f"{folder} failed: {reason}" in printed.err
        assert f"failed: {folder}: {reason}" in " ".join(printed.out.split())
        assert f"failed: {folder}: {reason}" in (tmp_path / "out" / "compare.md").read_text()
    compare(manifest, quiet=True, **given)
    assert status(tmp_path / "out") == expected


@pytest.mark.slow
def test_the_command_prints_why_all_runs_failed(manifest, tmp_path):
    given = ["--methods=mla,sum", "--seeds=1", f"--out={tmp_path / 'out'}", "--lr=1e30"]
    given += [f"--{name.replace('_', '-')}={value}" for name, value in FAST.items()]
    code, out, err = command.run("compare", f"--data={manifest}", *given)
    assert code == 2
    for folder in ("toy-mla-0", "toy-sum-0"):
        assert f"failed: {folder}: diverged" in " ".join(out.split())
    assert err.splitlines()[-1].startswith("altuna: every run failed, as in")


@pytest.mark.slow
def test_when_all_runs_diverge(manifest, tmp_path):
    with pytest.raises(UserError, match=r"every run failed, as in .*toy-mla-0: diverged: .* in epoch 1"):
        compare(
            manifest, methods="mla,sum", seeds=1, jobs=2, out=tmp_path / "out", quiet=True, lr=1e30, **FAST
        )
    assert len([r for r in status(tmp_path / "out").values() if r.startswith("diverged")]) == 2
    assert (tmp_path / "out" / "compare.md").exists()


def killer(note, kills):
    """Kill the process that has a run, as often as told, whenever it is at it."""

    def watch():
        left, seen = kills, set()
        while left and threading.main_thread().is_alive() and not stop.is_set():
            try:
                pid = int(note.read_text())
            except (FileNotFoundError, ValueError):
                pid = None
            if pid and pid not in seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)
                left -= 1
            time.sleep(0.005)

    stop = threading.Event()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return lambda: (stop.set(), thread.join())


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "jobs"), [(1, 2), (2, 1)])
def test_a_killed_process_does_not_sink_the_others(kills, jobs, manifest, tmp_path):
    out = tmp_path / "out"
    end = killer(out / "running" / "toy-mla-1", kills)
    compare(manifest, methods="mla,concat", seeds=2, jobs=jobs, out=out, quiet=True, **FAST | {"epochs": 20})
    end()
    runs = {run["folder"]: run for run in read(out)["runs"]}
    victim = runs.pop("toy-mla-1")
    assert all(run["status"] == "finished" for run in runs.values())
    if kills == 1:
        assert (victim["status"], victim["killed_once"]) == ("finished", True)
        assert "killed once and resumed: toy-mla-1" in (out / "compare.md").read_text()
    else:
        assert (victim["status"], victim["reason"]) == ("failed", KILLED)
    assert not (out / "running").exists()


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(manifest, tmp_path, here):
    out = tmp_path / "out"
    process = command.Process(*arguments(manifest, out, "--epochs=5"), group=True)
    while process.poll() is None and not [*out.glob("*/checkpoints/last.ckpt")]:
        time.sleep(0.02)
    pids = [int(note.read_text()) for note in (out / "running").iterdir() if note.suffix != ".lock"]
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    printed, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert err == "altuna: interrupted; run the same command again to continue\n"
    assert pids
    for pid in pids:
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{pid}").exists()
    compare(manifest, methods="mla,concat", seeds=2, out=out, quiet=True, **FAST | {"epochs": 5})
    assert {*status(out).values()} == {"finished"}


@pytest.mark.slow
def test_dask_takes_over(manifest, tmp_path):
    out = tmp_path / "out"
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config("dask"):
            compare(manifest, methods="mla,concat", seeds=2, out=out, quiet=True, threads=1, **FAST)
        workers = {str(worker.pid) for worker in cluster.workers.values()}
    assert {*status(out).values()} == {"finished"}
    assert read(out)["jobs"] == 2
    events = [*out.glob("toy-*/events.out.tfevents.*")]  # TIME.HOST.PID.NUMBER
    assert len(events) == 4
    assert {event.name.split(".")[-2] for event in events} <= workers


def test_two_comparisons_do_not_share_a_folder(manifest, tmp_path, here):
    from altuna.comparison.pool import Pool

    given = {"methods": "mla", "seeds": 1, "out": tmp_path / "out", "quiet": True, **FAST}
    with Pool(1, 1, tmp_path / "out").alone(), pytest.raises(UserError, match="another comparison"):
        compare(manifest, **given)


def test_a_worker_whose_comparison_was_killed_begins_nothing(manifest, tmp_path):
    run = Run(
        str(manifest), "mla", 0, tmp_path / "out" / "r", {"data": str(manifest), "method": "mla", **FAST}
    )
    (tmp_path / "out").mkdir()
    _, reason = train(run, tmp_path / "out" / "running" / "r", 1, 0)
    assert reason == "the comparison was killed before this run began"
    assert not run.folder.exists()
