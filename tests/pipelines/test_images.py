import shutil
from pathlib import Path

import pytest

from components.finetune.component import finetune
from pipelines.images import ROOT, reference, tag

FILES = {
    "docker/Dockerfile": "FROM python",
    "docker/text.lock": "numpy==1",
    "docker/train.lock": "torch==1",
    "components/__init__.py": '"""Stages."""',
    "components/reading/__init__.py": '"""A stage."""',
    "components/reading/__main__.py": "from components.reading.stage import reading\nreading()",
    "components/reading/stage.py": "def reading():\n  from components import words\n  words.x()",
    "components/reading/component.py": "import kfp",
    "components/words.py": "import components.letters as l\nx = l.x",
    "components/letters.py": "import json\ndef x(): return json.loads('1')",
    "components/writing/__init__.py": "",
    "components/writing/__main__.py": "from components import numbers",
    "components/numbers.py": "x = 1",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def tags(tree: Path) -> tuple[str, str]:
    tag.cache_clear()
    return tag("reading", "text", tree), tag("writing", "train", tree)


@pytest.mark.parametrize(
    ("name", "reading_changes", "writing_changes"),
    [
        ("components/reading/stage.py", True, False),
        ("components/reading/component.py", False, False),
        ("components/words.py", True, False),
        ("components/letters.py", True, False),
        ("components/numbers.py", False, True),
        ("components/__init__.py", True, True),
        ("docker/text.lock", True, False),
        ("docker/train.lock", False, True),
        ("docker/Dockerfile", True, True),
    ],
)
def test_a_change_reaches_the_stages_that_import_it(
    tree: Path, name: str, reading_changes: bool, writing_changes: bool
) -> None:
    reading, writing = tags(tree)

    (tree / name).write_text(FILES[name] + "\ny = 2\n")

    changed = tags(tree)
    assert (changed[0] != reading, changed[1] != writing) == (reading_changes, writing_changes)


def test_comments_docstrings_and_layout_change_nothing(tree: Path) -> None:
    before = tags(tree)

    (tree / "components/letters.py").write_text(
        '"""Letters."""\nimport json  # fast\n\n\ndef x():\n    """Read."""\n'
        "    return json.loads(\n        '1'\n    )\n"
    )

    assert tags(tree) == before


def test_an_import_that_is_not_followed_is_refused(tree: Path) -> None:
    (tree / "components/words.py").write_text("from . import letters")

    with pytest.raises(AssertionError, match=r"not followed: from \. import letters"):
        tags(tree)


def test_a_reference_names_registry_target_and_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.local/team")

    image, _, version = reference(finetune).partition(":")

    assert image == "registry.local/team/train"
    assert version.startswith("finetune-") and len(version) == len("finetune-") + 7


def test_the_losses_are_in_the_training_stages_only(tmp_path: Path) -> None:
    for name in ("components", "docker"):
        shutil.copytree(ROOT / name, tmp_path / name)
    stages = {"ingest": "text", "weighting": "text", "wt_pretrain": "train", "finetune": "train"}
    before = {stage: tag(stage, target, tmp_path) for stage, target in stages.items()}
    with (tmp_path / "components/shared/losses.py").open("a") as losses:
        losses.write("\nFACTOR = 2\n")
    tag.cache_clear()

    after = {stage: tag(stage, target, tmp_path) for stage, target in stages.items()}

    changed = {stage for stage in stages if before[stage] != after[stage]}
    assert changed == {"wt_pretrain", "finetune"}
