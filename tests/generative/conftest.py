"""Small data."""

import pytest

from generative import Dataset, load_data


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_data("digits")
