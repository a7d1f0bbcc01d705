"""What all tests share: a cache of their own, media made once, and the order in which files are run."""

import os
from collections import Counter

# Before torch is imported: the threads of two processes at once would wait for each other, and sums
# of several threads differ in their last digits.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import trees


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items):
    """Call browsers and served pages slow, run files with slow tests first, and skip what needs a GPU.

    With the slow files at the end one process would be left alone with the last of them.
    """
    for item in items:
        if {"browser", "address"} & {*item.fixturenames}:
            item.add_marker(pytest.mark.slow)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # of the others the order stays
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if needy:
        import torch

        for item in needy * (not torch.cuda.is_available()):
            item.add_marker(pytest.mark.skip(reason="needs a GPU"))


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
