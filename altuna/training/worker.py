"""One of the processes that ``launch`` starts, by ``python -m altuna.training.worker``."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from altuna.errors import UserError
from altuna.training.distributed import GRACE
from altuna.training.fit import fit


def _main(folder: Path, parent: int) -> None:
    """Be a process of a training; leave the run directory, or the first error, as the answer."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    first = os.environ["RANK"] == "0"
    if not first:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one stops after its batch
    answer: Path | BaseException
    try:
        options, reporter = pickle.loads((folder / "call").read_bytes())
        answer = fit(**options, reporter=reporter)
    except SystemExit:  # the first process says why, and ends this one
        time.sleep(GRACE)
        os._exit(1)
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


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it."""
    while os.getppid() == parent:
        time.sleep(0.05)
    os._exit(1)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]))
