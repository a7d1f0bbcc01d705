"""The processes of one training: started by torchrun, by Slurm, or here by PyTorch's elastic launcher."""

from __future__ import annotations

import atexit
import logging
import os
import pickle
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import distributed

from altuna.core import collectives
from altuna.core.collectives import all_gather_object, rank
from altuna.errors import UserError
from altuna.reporting import Reporter

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # that end the processes, too
GRACE = 5  # seconds that processes have to end by themselves when one was interrupted or has failed


@dataclass(frozen=True)
class Placement:
    """Where this process stands among those of its training.

    Args:
        rank: Its number among all of them.
        local_rank: Its number among those of its machine.
        devices: Number of processes on each machine.
        nodes: Number of machines.
    """

    rank: int
    local_rank: int
    devices: int
    nodes: int


def placement() -> Placement | None:
    """Return how torchrun or Slurm started this process among others, None if it is alone."""
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE")
    elif "SLURM_STEP_ID" in env and env.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS", "SLURM_NNODES")
    else:
        return None
    values = [int(env.get(name, default)) for name, default in zip(names, "0011", strict=True)]
    here, local, processes, nodes = values
    return Placement(here, local, processes // nodes, nodes) if processes > 1 else None


def processes_to_start(devices: int | None, nodes: int | None, accelerator: str) -> int:
    """Return how many processes to start, 0 where they are there or one is enough.

    Raises:
        UserError: There are not as many devices, or other processes were started than the options say.
    """
    here = placement()
    if here is None and (nodes or 1) > 1:
        raise UserError(
            f"nodes={nodes}: start altuna on each machine with torchrun or srun (docs/distributed.md)"
        )
    if here and (devices or here.devices, nodes or here.nodes) != (here.devices, here.nodes):
        has = f"devices={here.devices}, nodes={here.nodes}"
        raise UserError(f"devices={devices}, nodes={nodes}: torchrun or Slurm started {has}")
    wanted = here.devices if here else devices or 1
    if wanted == 1:
        return 0
    gpus = torch.cuda.device_count() or int(torch.mps.is_available())
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not gpus)
    exist = (os.cpu_count() or 1) if on_cpu else gpus
    if wanted > exist:
        raise UserError(f"devices={wanted}: this machine has {exist} {'CPU cores' if on_cpu else 'GPUs'}")
    return 0 if here else wanted


def join() -> Placement | None:
    """Connect to the other processes of the training, if there are any; return this one's placement."""
    here = placement()
    if here is None or collectives.object_group is not None:
        return here
    if not distributed.is_initialized():
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            os.environ |= _slurm_address(os.environ) | {**os.environ}
        # Both: with GPUs there is more to exchange than what lies on them.
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        distributed.init_process_group(backend, rank=here.rank, world_size=here.devices * here.nodes)
        atexit.register(_leave)
    # The other processes wait while the first one prepares data, which may take hours.
    collectives.object_group = distributed.new_group(backend="gloo", timeout=timedelta(days=7))
    return here


def _leave() -> None:
    """Part from the others: their threads, alive when the interpreter ends, may abort (pytorch #190489)."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _slurm_address(env: Mapping[str, str]) -> dict[str, str]:
    """Return where the processes of a job meet: on its first machine, at a port that the job's number gives.

    Example:
        >>> _slurm_address({"SLURM_NODELIST": "gpu[07-09,12],cpu1", "SLURM_JOB_ID": "123456"})
        {'MASTER_ADDR': 'gpu07', 'MASTER_PORT': '18456'}
    """
    first = re.match(r"([^\[,]+)(?:\[(\w+))?([^,\[]*)", env.get("SLURM_NODELIST", "127.0.0.1"))
    assert first is not None
    port = 15000 + int(env.get("SLURM_JOB_ID", "0")) % 10000
    return {"MASTER_ADDR": first[1] + (first[2] or ""), "MASTER_PORT": str(port)}


@contextmanager
def rank_zero_first() -> Iterator[None]:
    """Let each machine's first process go first; an error of one ends all, the first process raises it."""
    here = placement()
    first = here is None or here.local_rank == 0
    mistake = None
    if not first:
        all_gather_object(None)
    try:
        yield
    except (UserError, OSError) as error:
        mistake = error
    if first:
        all_gather_object(None)
    for found in all_gather_object(mistake):
        if found is not None:
            raise found if rank() == 0 else SystemExit(2)


def launch(options: Mapping[str, Any], reporter: Reporter, devices: int) -> Path:
    """Call ``altuna.fit`` in as many processes on this machine as devices; return the run directory.

    They end with this process. Ctrl-C is passed on, and takes effect after their batch.

    Raises:
        UserError: The reporter cannot be pickled, what a process found wrong, or one was killed.
    """
    try:
        call = pickle.dumps((dict(options), reporter))
    except Exception as error:  # of many kinds, whatever an object's own methods raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"reporter: cannot be sent to {devices} processes, as it cannot be pickled: {reason}"
        ) from error
    # Slow, and for this alone.
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=devices,
        run_id="altuna",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        shutdown_timeout=GRACE,
        # A signal that is ignored, as by nohup, stays ignored.
        signals_to_handle=",".join(s.name for s in SIGNALS if signal.getsignal(s) != signal.SIG_IGN),
    )
    failure: BaseException | None = None
    with TemporaryDirectory() as folder:
        Path(folder, "call").write_bytes(call)
        with _launching(devices):
            try:
                elastic_launch(config, sys.executable)("-m", "altuna.training.worker", folder, os.getpid())
            except Exception as error:
                failure = error
        answer = Path(folder, "answer")
        found = pickle.loads(answer.read_bytes()) if answer.exists() else None
    if isinstance(found, Path):
        return found
    if found is None and isinstance(failure, SignalException):
        signal.raise_signal(failure.sigval)  # as it would have been without the launcher
    if found is None and any(f.exitcode < 0 for f in getattr(failure, "failures", {}).values()):
        raise UserError("a process of the training was killed (was there enough memory?)")
    raise found or failure or RuntimeError("a process of the training ended without a reason")


@contextmanager
def _launching(devices: int) -> Iterator[None]:
    """Prepare for PyTorch's launcher; afterwards restore the environment, signal handlers and log levels."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    environment = dict(os.environ)
    os.environ.setdefault("OMP_NUM_THREADS", threads)
    # The answer says what failed, in one line. PyTorch gives each of these loggers a level of its own.
    loggers = [logging.getLogger(name) for name in [*logging.root.manager.loggerDict] if ".elastic" in name]
    loggers.append(logging.getLogger("torch.distributed.launcher.api"))
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        os.environ.clear()
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                signal.signal(number, handler)
