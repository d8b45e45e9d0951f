from pathlib import Path

import pytest

from components.finetune.component import finetune
from pipelines import images
from pipelines.images import LAUNCHER, components, reference


def test_a_reference_names_registry_target_and_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.local/team")

    image, _, version = reference(finetune).partition(":")

    assert image == "registry.local/team/train"
    assert version.startswith("finetune-") and len(version) == len("finetune-") + 7


def test_the_environment_replaces_one_stage_s_whole_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = [reference(component) for component in components() if component is not finetune]
    own = f"elsewhere/mine@sha256:{64 * '1'}"
    monkeypatch.setenv("WEBLY_IMAGE_FINETUNE", own)

    assert reference(finetune) == own
    assert [reference(each) for each in components() if each is not finetune] == others


def test_the_launchers_reference_is_one_of_its_own() -> None:
    image, _, version = reference(LAUNCHER).partition(":")

    assert image == "webly/launcher"
    assert version == "trainjob-2"


def test_the_command_prints_one_reference_per_stage_and_the_launchers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_REGISTRY", "replaced/by/the/option")

    images.main(["--registry", "registry.local/team"])

    stages = [each.name for each in (*components(), LAUNCHER)]
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition(":")[2].rpartition("-")[0] for line in lines] == stages
    assert all(line.startswith("registry.local/team/") for line in lines)


def test_a_machine_without_docker_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match="2"):
        images.main(["build"])

    assert caplog.messages[0].startswith("docker: no such command")


def test_pushing_needs_a_registry(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WEBLY_REGISTRY", raising=False)

    with pytest.raises(SystemExit, match="2"):
        images.main(["push"])

    assert "WEBLY_REGISTRY" in caplog.text


@pytest.mark.parametrize(
    ("reference", "has"),
    [
        ("webly/text:ingest-1", False),
        ("text:ingest-1", False),
        ("registry.example.org/team/text:1", True),
        ("registry:5000/text:1", True),
        ("localhost/text:1", True),
        ("docker.io/team/text:1", True),
    ],
)
def test_a_name_of_an_image_has_a_registry_or_means_docker_hub(reference: str, has: bool) -> None:
    assert images.has_registry(reference) is has
