"""Settings and fixtures of the whole suite; fixtures of one room live beside that room's tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# A machine that is busy with something else must not fail a property.
settings.register_profile("bertie", deadline=None)
settings.load_profile("bertie")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Return the folder of real data, from the environment variable BERTIE_TEST_DATA; skip when it is unset."""
    folder = os.environ.get("BERTIE_TEST_DATA")
    if not folder:
        pytest.skip("BERTIE_TEST_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"BERTIE_TEST_DATA is {folder!r}, which is not a folder")
    return path
