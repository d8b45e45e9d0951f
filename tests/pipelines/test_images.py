import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from components.finetune.component import finetune
from pipelines.images import LAUNCHER, components, reference
from pipelines.tags import ROOT, tag

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


def other_pythons() -> list[str]:
    found = [f"python3.{minor}" for minor in range(11, 20) if minor != sys.version_info.minor]
    return [python for python in found if not _fails([python, "-c", ""])]


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


def test_every_python_finds_the_same_tags(tree: Path) -> None:
    (tree / "components/words.py").write_text(SYNTAX)

    # What Python 3.11, 3.12 and 3.13 found when this was written.
    assert tags(tree) == ("reading-037f996", "writing-1ba0fd7")


@pytest.mark.skipif(not other_pythons(), reason="needs a second version of Python")
@pytest.mark.parametrize("python", other_pythons())
def test_another_python_on_this_machine_finds_the_same_tags(python: str) -> None:
    stages = [(component.name, component.target) for component in components()]
    code = f"from pipelines.tags import tag\nprint([tag(*stage) for stage in {stages}])"

    ended = subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ended.stdout.strip() == str([tag(*stage) for stage in stages]), ended.stderr


def test_a_reference_names_registry_target_and_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.local/team")

    image, _, version = reference(finetune).partition(":")

    assert image == "registry.local/team/train"
    assert version.startswith("finetune-") and len(version) == len("finetune-") + 7


def test_the_environment_replaces_one_stage_s_whole_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [reference(component) for component in components() if component is not finetune]
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", "elsewhere/mine@sha256:12")

    assert reference(finetune) == "elsewhere/mine@sha256:12"
    assert [reference(each) for each in components() if each is not finetune] == others


def add_code(path: Path) -> None:
    path.write_text(path.read_text() + "\nFACTOR = 2\n")


def add_comment(path: Path) -> None:
    path.write_text(path.read_text() + "\n# doubled\n")


def change_docstring(path: Path) -> None:
    path.write_text(path.read_text().replace('"""', '"""Now ', 1))


def test_the_launchers_reference_is_one_of_its_own() -> None:
    image, _, version = reference(LAUNCHER).partition(":")

    assert image == "webly/launcher"
    assert version.startswith("trainjob-") and len(version) == len("trainjob-") + 7


TRAINING = {"wt_pretrain", "lw_pretrain", "multitask_pretrain", "finetune"}


@pytest.mark.parametrize(
    ("name", "edit", "changed"),
    [
        ("components/finetune/stage.py", add_code, {"finetune"}),
        ("components/finetune/stage.py", add_comment, set()),
        ("components/finetune/stage.py", change_docstring, set()),
        ("components/shared/training/losses.py", add_code, TRAINING),
        ("components/shared/training/losses.py", change_docstring, set()),
        ("components/tagging/keyword_filter.py", add_code, {"tagging"}),
        ("components/trainjob/__main__.py", add_code, {"trainjob"}),
        ("docker/launcher.lock", add_comment, {"trainjob"}),
        ("pipelines/engine/engine.py", add_code, set()),
        ("docker/text.lock", add_comment, {"ingest", "tagging", "weighting", "compare"}),
    ],
)
def test_an_edit_of_this_project_changes_the_tags_of_the_stages_that_it_reaches(
    tmp_path: Path, name: str, edit: Callable[[Path], None], changed: set[str]
) -> None:
    for folder in ("components", "docker", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    stages = {each.name: each.target for each in (*components(), LAUNCHER)}
    before = {stage: tag(stage, target, tmp_path) for stage, target in stages.items()}

    edit(tmp_path / name)

    tag.cache_clear()
    after = {stage: tag(stage, target, tmp_path) for stage, target in stages.items()}
    assert {stage for stage in stages if before[stage] != after[stage]} == changed


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.images", *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)


def test_the_command_prints_one_reference_per_stage_and_the_launchers() -> None:
    ended = run("--registry", "registry.local/team")

    stages = [each.name for each in (*components(), LAUNCHER)]
    lines = ended.stdout.splitlines()
    assert [line.rpartition(":")[2].rpartition("-")[0] for line in lines] == stages
    assert all(line.startswith("registry.local/team/") for line in lines)


def test_a_machine_without_docker_is_told(tmp_path: Path) -> None:
    ended = run("build", PATH=str(tmp_path))

    assert ended.returncode == 2
    assert ended.stderr.startswith("docker: no such command")


def test_pushing_needs_a_registry() -> None:
    ended = run("push")

    assert ended.returncode == 2
    assert "WEBLY_REGISTRY" in ended.stderr
