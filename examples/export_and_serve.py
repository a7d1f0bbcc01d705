"""Export a model, and serve it over HTTP with onnxruntime and the standard library, without altuna.

A request is JSON with the readings of the sensors that work. The answer has class probabilities and fusion
weights.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import onnxruntime
from sensors import write_table

import altuna
from altuna.export.export import export


class Model:
    """The graphs of an export: one per modality, and one that fuses the modalities present."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        self.names = [m["name"] for m in self.config["modalities"]]
        self.encoders = [onnxruntime.InferenceSession(folder / m["file"]) for m in self.config["modalities"]]
        self.fusion = onnxruntime.InferenceSession(folder / self.config["fusion"]["file"])

    def predict(self, given: dict[str, list[float]]) -> dict[str, Any]:
        """Return class probabilities and the modalities' weights."""
        if not given or {*given} - {*self.names}:
            raise ValueError(f"give one or more of {', '.join(self.names)}")
        inputs = {"present": np.array([[name in given for name in self.names]])}
        for i, (m, encoder) in enumerate(zip(self.config["modalities"], self.encoders, strict=True)):
            features = np.zeros((1, m["features"]), np.float32)  # ignored for missing modalities
            if m["name"] in given:
                (features,) = encoder.run(None, {"cells": np.array([given[m["name"]]], np.float32)})
            inputs[f"features_{i}"] = features
        probabilities, weights, *_ = self.fusion.run(None, inputs)
        return {
            "probabilities": dict(
                zip(self.config["classes"], probabilities[0].astype(float).round(3).tolist(), strict=True)
            ),
            "weights": dict(zip(self.names, weights[0].astype(float).round(3).tolist(), strict=True)),
        }


def server(model: Model, port: int = 0) -> ThreadingHTTPServer:
    """Return a server that only this machine can reach; port 0 selects a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Answer a request; an invalid one with the error."""
            try:
                asked = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), 100_000)))
                status, answer = 200, model.predict(asked)
            except Exception as error:  # whatever was sent
                status, answer = 400, {"error": str(error)}
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Train, export and serve, then send three requests: both sensors, one sensor, and an invalid one."""
    with TemporaryDirectory() as folder:
        data = write_table(Path(folder) / "readings.csv", samples=300)
        run = altuna.fit(data, epochs=8, out=Path(folder) / "run", logger="none", quiet=True)
        exported, checked = export(run)
        print(f"exported; differs from the model by {checked['largest_difference']:.0e} at most")
        serving = server(Model(exported))
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        for asked in ({"acc": [1.2] * 6, "gyro": [0.0] * 6}, {"gyro": [1.2] * 6}, {"sonar": [1.0]}):
            request = Request(f"http://127.0.0.1:{serving.server_port}", json.dumps(asked).encode())
            try:
                print(", ".join(asked), "->", urlopen(request).read().decode())
            except HTTPError as error:
                print(", ".join(asked), "->", error.code, error.read().decode())
        serving.shutdown()


if __name__ == "__main__":
    main()
