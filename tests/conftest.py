"""Nothing that a test prepares stays in the user's cache."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALTUNA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
