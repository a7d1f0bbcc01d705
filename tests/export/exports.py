"""What tests of exports need."""

import pytest

needs_onnx = pytest.mark.skipif(
    not all(map(__import__("importlib.util").util.find_spec, ("onnx", "onnxscript", "onnxruntime"))),
    reason="the extra export is not installed",
)
