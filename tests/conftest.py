"""Nothing that a test prepares stays in the user's cache."""

import os

# Before torch is imported: the threads of two processes at once would wait for each other, and sums
# of several threads differ in their last digits.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTUNA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
