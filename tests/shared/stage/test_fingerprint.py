import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared.stage.container import Component
from components.shared.stage.fingerprint import ROOT, fingerprint
from components.shared.storage import resume
from pipelines.images import components

FILES = {
    "docker/text.lock": "numpy==1",
    "docker/train.lock": "torch==1",
    "components/__init__.py": '"""Stages."""',
    "components/reading/__init__.py": '"""A stage."""',
    "components/reading/stage.py": "def reading():\n  from components import words\n  words.x()",
    "components/reading/component.py": "import kfp",
    "components/reading/report.py": "x = 1",
    "components/words.py": "import components.letters as l, components.reading.report\nx = l.x",
    "components/letters.py": "import json\ndef x(): return json.loads('1')",
    "components/writing/__init__.py": "",
    "components/writing/stage.py": "import components.numbers, components.shared.stage.cli",
    "components/numbers.py": "x = 1",
    "components/shared/stage/cli.py": "import components.letters",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def found(tree: Path) -> tuple[str, str]:
    fingerprint.cache_clear()
    return (
        fingerprint("components.reading.stage", "text", root=tree),
        fingerprint("components.writing.stage", "train", root=tree),
    )


@pytest.mark.parametrize(
    ("name", "reading_changes", "writing_changes"),
    [
        ("components/reading/stage.py", True, False),
        ("components/reading/component.py", False, False),
        ("components/reading/report.py", False, False),
        ("components/words.py", True, False),
        ("components/letters.py", True, False),
        ("components/numbers.py", False, True),
        ("components/shared/stage/cli.py", False, False),
        ("components/__init__.py", True, True),
        ("docker/text.lock", True, False),
        ("docker/train.lock", False, True),
    ],
)
def test_a_change_reaches_the_stages_that_import_it(
    tree: Path, name: str, reading_changes: bool, writing_changes: bool
) -> None:
    reading, writing = found(tree)

    (tree / name).write_text(FILES[name] + "\ny = 2\n")

    changed = found(tree)
    assert (changed[0] != reading, changed[1] != writing) == (reading_changes, writing_changes)


LETTERS = '''"""Letters."""
import json  # fast


def x():
    """Read."""
    logger.info("reading")
    return json.loads(
        '1'
    )
'''


def test_comments_docstrings_layout_and_log_lines_change_nothing(tree: Path) -> None:
    before = found(tree)

    (tree / "components/letters.py").write_text(LETTERS)

    assert found(tree) == before


def test_the_words_of_an_error_change_nothing_but_its_condition_does(tree: Path) -> None:
    letters = tree / "components/letters.py"
    letters.write_text("if x < 1:\n  raise UserError(f'{x}: too small')")
    before = found(tree)

    letters.write_text("if x < 1:\n  raise UserError(f'x={x}: give 1 or more')")
    assert found(tree) == before

    letters.write_text("if x < 2:\n  raise UserError(f'x={x}: give 1 or more')")
    assert found(tree) != before


def test_an_error_that_becomes_data_is_code(tree: Path) -> None:
    letters = tree / "components/letters.py"
    letters.write_text("raise InvalidImageError('truncated')")
    before = found(tree)

    letters.write_text("raise InvalidImageError('cut short')")

    assert found(tree) != before


def test_an_import_that_is_not_followed_is_refused(tree: Path) -> None:
    (tree / "components/words.py").write_text("from . import letters")

    with pytest.raises(AssertionError, match=r"not followed: from \. import letters"):
        found(tree)


def other_pythons() -> list[str]:
    named = [f"python3.{minor}" for minor in range(11, 20) if minor != sys.version_info.minor]
    return [python for python in named if not _fails([python, "-c", ""])]


def _fails(command: list[str]) -> bool:
    return shutil.which(command[0]) is None or bool(
        subprocess.run(command, capture_output=True).returncode
    )


# Where ast.dump or ast.unparse differ between versions.
SYNTAX = """
class C: pass
def f(x: int, /, *y, z: str = f"{1:{2}}{'a'!r}" u"b", **k) -> None:
    async def g(): return ...
    return f"{{{x:>{k}}}} '" if x else -0.1e-7j, "\U0001fae8"
"""


def test_every_python_finds_the_same(tree: Path) -> None:
    (tree / "components/words.py").write_text(SYNTAX)

    # What Python 3.11 found when this was written.
    assert found(tree) == ("96c4dca4759d5211", "c443d833718de908")


@pytest.mark.skipif(not other_pythons(), reason="needs a second version of Python")
@pytest.mark.parametrize("python", other_pythons())
def test_another_python_on_this_machine_finds_the_same(python: str) -> None:
    stages = [(each.stage.__module__, each.target) for each in components()]
    code = (
        "from components.shared.stage.fingerprint import fingerprint\n"
        f"print([fingerprint(*stage) for stage in {stages}])"
    )

    ended = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ended.stdout.strip() == str([each.fingerprint for each in components()]), ended.stderr


def replaced(old: str, new: str) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


def more(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(f"{path.read_text()}\n{text}\n")


CODE, COMMENT, HELP = more("FACTOR = 2"), more("# doubled"), replaced("How to train.", "How.")
TRAINING = {"wt_pretrain", "lw_pretrain", "multitask_pretrain", "finetune", "audit"}
TORCH = {*TRAINING, "initial_model", "pseudo_label", "ensemble"}
TEXT = {"ingest", "tagging", "weighting", "compare"}


@pytest.mark.parametrize(
    ("name", "edit", "changed"),
    [
        ("components/shared/reports/html.py", CODE, set()),
        ("components/shared/stage/retry.py", replaced("2 * pause", "3 * pause"), set()),
        ("components/finetune/stage.py", HELP, set()),
        ("components/finetune/stage.py", COMMENT, set()),
        ("components/tagging/report.py", CODE, set()),
        ("components/trainjob/launcher.py", CODE, set()),
        ("pipelines/engine/engine.py", CODE, set()),
        ("docker/launcher.lock", COMMENT, set()),
        ("components/finetune/stage.py", CODE, {"finetune"}),
        ("components/tagging/keyword_filter.py", CODE, {"tagging"}),
        ("components/shared/training/losses.py", CODE, TRAINING),
        ("components/shared/training/sampling.py", CODE, TRAINING),
        ("components/shared/training/transforms.py", CODE, TORCH),
        ("docker/train.lock", COMMENT, TORCH),
        ("docker/text.lock", COMMENT, TEXT),
    ],
)
def test_an_edit_of_this_project_reaches_the_stages_whose_results_it_can_change(
    tmp_path: Path, name: str, edit: Callable[[Path], None], changed: set[str]
) -> None:
    for folder in ("components", "docker", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)

    def of_all() -> dict[str, str]:
        fingerprint.cache_clear()
        return {
            each.name: fingerprint(each.stage.__module__, each.target, root=tmp_path)
            for each in components()
        }

    before = of_all()
    edit(tmp_path / name)

    after = of_all()
    assert {stage for stage in before if before[stage] != after[stage]} == changed


def test_checkpoints_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resume.folder("finetune", [], seed=0)
    assert resume.folder("finetune", [], seed=0) == before

    monkeypatch.setattr(Component, "fingerprint", property(lambda self: "another"))

    assert resume.folder("finetune", [], seed=0) != before
