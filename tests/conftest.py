"""Nothing that a test prepares stays in the user's cache."""

import os

# Before torch is imported: the threads of two processes at once would wait for each other, and sums
# of several threads differ in their last digits.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import trees


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTUNA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return trees.Media(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def whole(media, tmp_path_factory):
    """Releases with nothing wrong, by name: (root, what the generator says of the good samples)."""
    made = {}
    for name in trees.NAMES:
        root = tmp_path_factory.mktemp(name)
        made[name] = root, getattr(trees, name.replace("-", "_"))(root, media)
    return made
