"""Serve a local web page on which people try a model."""

from __future__ import annotations

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable

from altuna.demo.samples import sampler
from altuna.errors import UserError
from altuna.runs.predictor import Predictor

MAX_UPLOAD = "100mb"
FIRST_PORT, PORTS = 7860, 100


def serve(run: str, host: str, port: int | None, announce: Callable[[str], None]) -> None:
    """Serve the page of a run until Ctrl-C; nothing is sent anywhere else.

    Args:
        run: The run directory, or ``hf:ORG/NAME``.
        host: Address to listen on.
        port: Port to listen on; the first free one from 7860 when None.
        announce: Called with a line that has the address, once the page can be opened.

    Raises:
        UserError: Gradio is not installed, not a run, or the port is in use.
    """
    # Otherwise a service manager, or closing the terminal, would leave the uploads behind.
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", None)):
        if number is not None and threading.current_thread() is threading.main_thread():
            signal.signal(number, _stop)
    with tempfile.TemporaryDirectory(prefix="altuna-demo-") as folder:
        # Gradio reads these on import. Uploads are deleted with the folder; 100 requests are kept.
        os.environ.update(
            GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=folder, GRADIO_ANALYTICS_MAX_EVENTS="100"
        )
        try:
            from altuna.demo.page import page, start
        except ImportError as error:
            if error.name and error.name.startswith("altuna"):
                raise
            raise UserError("altuna demo needs gradio: pip install 'altuna[demo]'") from None
        port = _free_port(host, port)
        predictor = Predictor(run)
        blocks = page(predictor, run, sampler(predictor, run, folder))
        name = f"[{host}]" if ":" in host else host  # IPv6
        start(blocks, name, port, MAX_UPLOAD)
        local = host in ("127.0.0.1", "localhost", "::1")
        others = "" if local else "; other machines in the network can open the page"
        announce(f"open http://{name}:{port} (Ctrl-C stops the demo{others})")
        blocks.block_thread()


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _free_port(host: str, port: int | None) -> int:
    """Return ``port`` if it is free, or the first free port when None."""
    if port is not None and not 0 < port < 2**16:
        raise UserError(f"--port must be a number from 1 to 65535, got {port}")
    try:
        _listen(host, 0)
    except (OSError, UnicodeError) as error:  # the latter for a..b
        reason = getattr(error, "strerror", "not a name")
        raise UserError(f"--host {host!r} is not an address of this machine: {reason}") from None
    for candidate in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else (port,):
        try:
            for address in (host, "127.0.0.1"):  # Gradio needs the port there too, whatever the host
                _listen(address, candidate)
            return candidate
        except OSError as error:
            reason = error.strerror
    if port is None:
        raise UserError(f"{host}: no free port from {FIRST_PORT} on: {reason}; choose a port with --port")
    raise UserError(f"cannot listen on {host}, port {port}: {reason}; choose another port with --port")


def _listen(address: str, port: int) -> None:
    """Raise an OSError unless a port, any if 0, can be listened on."""
    family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind((address, port))
