import os
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}")
    return path


@pytest.fixture(scope="session")
def sample() -> Path:
    """Twelve thousand real photographs in the WebVision layout."""
    return _shared("data/webvision-sample")


@pytest.fixture(scope="session")
def photos() -> Path:
    """A tar of 200 real photographs of full size."""
    return _shared("data/photos.tar")


@pytest.fixture(scope="session")
def nltk_data() -> Path:
    """WordNet and NLTK's English tagger, on NLTK's search path."""
    path = _shared("nltk_data")
    os.environ["NLTK_DATA"] = str(path)
    import nltk

    if str(path) not in nltk.data.path:
        nltk.data.path.insert(0, str(path))
    return path
