"""What tests of comparisons share."""

import joblib
import pytest
from toys import write


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "toy.csv")


@pytest.fixture
def here():
    """Run in this process: what joblib's configuration asks for is done."""
    with joblib.parallel_config("sequential"):
        yield
