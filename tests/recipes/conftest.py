"""The generated releases, made once for all tests of recipes."""

import pytest
import trees


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
