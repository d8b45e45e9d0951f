import sys
from pathlib import Path

import pytest

TOY = Path(__file__).parent / "toy"
# Stages of the toy pipelines run in processes of their own, and are compiled in this one.
sys.path.append(str(TOY))


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TOY))
