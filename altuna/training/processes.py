"""Processes that carry out one training: started here, by torchrun or by Slurm."""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from altuna.errors import UserError

if TYPE_CHECKING:
    from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
GRACE = 5.0  # seconds that processes have to end by themselves when one has failed


class Started(NamedTuple):
    """What torchrun or Slurm says of the processes of a training, ``devices`` on each of ``nodes``."""

    environment: ClusterEnvironment
    devices: int
    nodes: int


def started() -> Started | None:
    """Return how this process was started among others, None if it is alone."""
    if not {"TORCHELASTIC_RUN_ID", "SLURM_STEP_ID"} & {*os.environ}:  # of torchrun, of srun
        return None
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    try:
        environment: ClusterEnvironment | None = None
        if TorchElasticEnvironment.detect():
            environment = TorchElasticEnvironment()
        elif SLURMEnvironment.detect():
            # Its requeueing would write checkpoints that are none of ours, and run scontrol.
            environment = SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise UserError(str(error)) from None
    if environment is None or environment.world_size() == 1:
        return None
    nodes = int(os.environ.get("GROUP_WORLD_SIZE") or os.environ.get("SLURM_NNODES") or 1)
    return Started(environment, environment.world_size() // nodes, nodes)


def to_start(devices: int | None, nodes: int | None, accelerator: str) -> int:
    """Return how many processes to start, 0 where they are there or none but this is needed.

    Raises:
        UserError: There are not as many devices, or other processes were started than was said.
    """
    there = started()
    if there is None and (nodes or 1) > 1:
        raise UserError(f"nodes={nodes}: start altuna on each with torchrun or srun (docs/distributed.md)")
    if there and (devices or there.devices, nodes or there.nodes) != there[1:]:
        has = f"devices={there.devices}, nodes={there.nodes}"
        raise UserError(f"devices={devices}, nodes={nodes}: the processes that were started are {has}")
    here = there.devices if there else devices or 1
    if here == 1:
        return 0
    import torch

    if accelerator not in ACCELERATORS:
        known = f"{', '.join(ACCELERATORS)}, got {accelerator!r}"
        raise UserError(f"accelerator: several devices are of one of {known}")
    gpus = torch.cuda.device_count() or int(torch.mps.is_available())
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not gpus)
    exist = (os.cpu_count() or 1) if on_cpu else gpus
    if here > exist:
        raise UserError(f"devices={here}: this machine has {exist} {'CPU cores' if on_cpu else 'GPUs'}")
    return 0 if there else here


def join() -> None:
    """Meet the other processes of the training, if there are any."""
    import torch
    from torch import distributed

    from altuna.core import collectives as sharing

    there = started()
    if there is None or sharing.talk is not None:
        return
    if not distributed.is_initialized():
        by = there.environment
        os.environ |= {"MASTER_ADDR": by.main_address, "MASTER_PORT": str(by.main_port)}
        # Both: with GPUs there is more to tell than what lies on them.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, rank=by.global_rank(), world_size=by.world_size())
        atexit.register(_leave)
    # Data may take hours to prepare.
    sharing.talk = distributed.new_group(backend="gloo", timeout=timedelta(days=7))


def _leave() -> None:
    """Part from the others: their threads, alive when the interpreter ends, may abort (pytorch #190489)."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def agreed() -> Iterator[None]:
    """Let each machine's first process go first, and what one finds wrong end all; the first tells it."""
    from altuna.core.collectives import everyone, rank

    there = started()
    first = there is None or there.environment.local_rank() == 0
    mistake = None
    if not first:
        everyone(None)
    try:
        yield
    except (UserError, OSError) as error:
        mistake = error
    if first:
        everyone(None)
    for found in everyone(mistake):
        if found is not None:
            raise found if rank() == 0 else SystemExit(2)


def launch(options: Mapping[str, Any], devices: int) -> Path:
    """Carry out ``altuna.fit`` in as many processes on this machine as devices, and return the run directory.

    They are started as torchrun would, with ``options``, and end with this one: each watches a pipe from it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    common = {"OMP_NUM_THREADS": threads, **os.environ, "TORCHELASTIC_RUN_ID": "altuna"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}
    common |= {"WORLD_SIZE": str(devices), "GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0"}
    with TemporaryDirectory() as folder:
        Path(folder, "options").write_bytes(pickle.dumps(dict(options)))
        command = [sys.executable, "-m", "altuna.training.processes", folder]
        # In groups of their own: a Ctrl-C comes here alone, and is passed on once.
        processes = [
            subprocess.Popen(
                command, stdin=subprocess.PIPE, env={**common, "RANK": i, "LOCAL_RANK": i}, process_group=0
            )
            for i in map(str, range(devices))
        ]
        stop = None
        try:
            _wait(processes)
        except KeyboardInterrupt as error:
            stop = error
            processes[0].send_signal(signal.SIGINT)  # it stops after its batch
            with suppress(subprocess.TimeoutExpired):
                processes[0].wait(GRACE)
        finally:
            for process in processes:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()
        answer = Path(folder, "answer")
        said = pickle.loads(answer.read_bytes()) if answer.exists() else stop
    if isinstance(said, Path):
        return said
    if any(process.returncode < 0 for process in processes):
        raise UserError("a process of the training was killed (was there enough memory?)")
    raise said or RuntimeError("a process of the training ended without a reason")


def _wait(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait until all have ended, or until one has failed and the others had their time to say why."""
    until = float("inf")
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        if any(process.returncode for process in processes):
            until = min(until, time.monotonic() + GRACE)
        time.sleep(0.05)


def _main(folder: Path) -> None:
    """Be a process of a training, and leave the run directory or the first mistake as the answer."""
    threading.Thread(target=_end_with_starter, daemon=True).start()
    first = os.environ["RANK"] == "0"
    if not first:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer: Path | BaseException
    try:
        from altuna.training.fit import fit

        answer = fit(**pickle.loads((folder / "options").read_bytes()))
    except (UserError, OSError, KeyboardInterrupt) as error:
        answer = error
    except Exception:
        answer = RuntimeError(traceback.format_exc())
    failed = isinstance(answer, BaseException)
    if first or failed:
        # Only what comes first: the others fail because a process is gone.
        with suppress(FileExistsError), (folder / "answer").open("xb") as file:
            pickle.dump(answer, file)
    sys.stdout.flush()
    if failed:
        os._exit(1)


def _end_with_starter() -> None:
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
