"""Does the demo answer 200 requests of 8 clients at once, and what does its memory do?

    python benchmarks/demo.py RUN

Every client takes samples of the test split (without one of their modalities, in turn) and uploads their
files. The resident memory of the server is read after the first requests, and after each further 200. Written
to ``benchmarks/results/demo.json``.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gradio_client import Client, handle_file
from mla import HERE

import altuna
from altuna.comparison.summary import environment
from altuna.demo.samples import sampler

CLIENTS, REQUESTS, ROUNDS = 8, 200, 24


def resident(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmRSS:\s*(\d+) kB", status)[0]) / 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("run", type=Path)
    run = arguments.parse_args().run
    predictor = altuna.load(run, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        draw = sampler(predictor, str(run), folder)
        assert draw is not None
        files = {n for n, r in predictor.description.readers.items() if r.type in ("image", "audio", "video")}
        requests = []
        for i in range(40):  # fewer than the files that the sampler keeps
            _, sample, _ = draw()
            without = [None, *predictor.modalities][i % (len(predictor.modalities) + 1)]
            wrapped = {
                m: handle_file(cell) if m in files else cell for m, cell in sample.items() if m != without
            }
            requests.append([wrapped.get(m, None if m in files else "") for m in predictor.modalities])
        command = [sys.executable, "-m", "altuna", "demo", str(run)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                address = server.stdout.readline().split()[1]
                clients = [Client(address, verbose=False) for _ in range(CLIENTS)]

                def ask(client: int, number: int) -> list[float]:
                    """Send requests of one client, one after the other; return the seconds of each."""
                    took = []
                    for i in range(client, client + number * CLIENTS, CLIENTS):
                        begun = time.perf_counter()
                        label, _, message = clients[client].predict(*requests[i % 40], api_name="/predict")
                        assert not message, message
                        assert label["confidences"], label
                        took.append(time.perf_counter() - begun)
                    return took

                with ThreadPoolExecutor(CLIENTS) as pool:
                    [*pool.map(lambda client: ask(client, 2), range(CLIENTS))]
                    memory, seconds, total = [resident(server.pid)], [], []
                    for _ in range(ROUNDS):
                        begun = time.perf_counter()
                        for took in pool.map(lambda client: ask(client, REQUESTS // CLIENTS), range(CLIENTS)):
                            seconds += took
                        total.append(time.perf_counter() - begun)
                        memory.append(resident(server.pid))
            finally:
                server.terminate()
    said = {
        "environment": environment(),
        "clients": CLIENTS,
        "requests": REQUESTS * ROUNDS,
        "errors": 0,
        "median_seconds": round(statistics.median(seconds), 3),
        "seconds_of_200": [round(t, 1) for t in total],
        "resident_mib_before_and_after_each_200": [round(m) for m in memory],
    }
    print(said)
    (HERE / "results" / "demo.json").write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
