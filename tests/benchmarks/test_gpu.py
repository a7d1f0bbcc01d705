"""The GPU benchmark runs as far as it can without a GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_every_check_runs_at_a_tiny_size(tmp_path):
    out = tmp_path / "gpu.json"
    subprocess.run([sys.executable, SCRIPT, "--tiny", "--results", out], check=True, timeout=600)
    found = json.loads(out.read_text())
    checks = {"steps", "feed", "nccl", "resume", "evaluation", "recipe", "tests"}
    assert checks <= {*found}
    assert not {name: found[name]["error"] for name in checks if "error" in found[name]}
    assert found["resume"]["largest_difference"] < 1e-6
    assert found["nccl"]["sum"] == 1
    assert found["feed"]["samples_per_second"] > 0


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_ends_well(tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--results", out], capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stdout[:6]) == (0, "no GPU")
    assert not out.exists()
