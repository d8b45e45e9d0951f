"""Weights from a hub and from folders: what the stage makes of them, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from components.finetune.stage import finetune
from components.initial_model import hub as hub_module
from components.initial_model.stage import initial_model
from components.lw_pretrain.stage import lw_pretrain
from components.multitask_pretrain.stage import multitask_pretrain
from components.shared.stage import cli, metadata
from components.shared.stage.errors import StorageError, UserError
from components.shared.training import models
from components.wt_pretrain.stage import wt_pretrain
from tests import hub as hubs
from tests import tiny_models
from tests.hub import Hub
from tests.synthetic import TRAINING, ColouredSquares

NAME = "timm/resnet10t.c3_in1k"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return hubs.write(tmp_path / "repository")


@pytest.fixture
def hub(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that has it under the name that timm looks for; nobody waits for one that is down."""
    monkeypatch.setattr(hub_module, "_PATIENCE", 0.0)
    with Hub() as hub:
        hub.repositories = {NAME: repository}
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def fetched(folder: Path, weights: str = "imagenet", backbone: str = "resnet10t") -> Path:
    initial_model(folder / "initial", weights=weights, backbone=backbone)
    return folder / "initial"


def test_timms_weights_for_a_backbone_are_fetched_whole(
    hub: Hub, repository: Path, tmp_path: Path
) -> None:
    folder = fetched(tmp_path)

    weights, given = (load_file(at / "model.safetensors") for at in (folder, repository))
    assert weights.keys() == given.keys()
    assert all(torch.equal(weights[name], given[name]) for name in given)
    assert timm.create_model(f"local-dir:{folder}", pretrained=True).num_classes == 10
    record = models.read_record(folder)
    assert [tuple(each) for each in record.lineage] == [(f"ImageNet weights {NAME}", 0, 0.0)]
    assert record.settings["commit"] == hub.commit(NAME) == metadata.read(folder)["commit"]


def test_only_the_files_that_are_needed_are_asked_for(
    hub: Hub, repository: Path, tmp_path: Path
) -> None:
    for name in ("pytorch_model.bin", "README.md", "open_clip_model.safetensors"):
        (repository / name).write_text("not asked for")

    fetched(tmp_path)

    asked = {request.rpartition("/")[2] for request in hub.requests if "resolve" in request}
    assert asked == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("revision", ["main", "v1"])
def test_a_repository_may_be_named_with_a_revision(revision: str, hub: Hub, tmp_path: Path) -> None:
    folder = fetched(tmp_path, f"hf-hub:{NAME}@{revision}")

    assert models.read_record(folder).lineage[0].what == f"weights {NAME}"


def test_a_mirror_that_knows_no_checksums_will_do(hub: Hub, tmp_path: Path) -> None:
    hub.listed = False
    fetched(tmp_path)


def test_a_repository_without_safetensors_is_converted(
    hub: Hub, repository: Path, tmp_path: Path
) -> None:
    tensors = load_file(repository / "model.safetensors")
    torch.save(tensors, repository / "pytorch_model.bin")
    (repository / "model.safetensors").unlink()

    folder = fetched(tmp_path)

    kept = load_file(folder / "model.safetensors")
    assert all(torch.equal(kept[name], tensors[name]) for name in tensors)


def test_a_pickle_that_is_a_program_is_not_run(hub: Hub, repository: Path, tmp_path: Path) -> None:
    (repository / "model.safetensors").unlink()
    program = b"cposix\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    (repository / "pytorch_model.bin").write_bytes(program)

    with pytest.raises(UserError):
        fetched(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("source", ["hub", "folder"])
def test_a_model_of_this_pipeline_keeps_its_record(source: str, hub: Hub, tmp_path: Path) -> None:
    own = tiny_models.save(tmp_path / "own", ["a", "b"], lineage=["wt_pretrain 32 px"])
    hub.repositories["some/body"] = own

    folder = fetched(tmp_path, "hf-hub:some/body" if source == "hub" else str(own))

    record = models.read_record(folder)
    assert (record.stage, record.names, record.score) == ("finetune", ["a", "b"], 0.5)
    assert record.lineage == models.read_record(own).lineage
    assert record.settings["commit"] == (hub.commit("some/body") if source == "hub" else "")


def test_a_folder_may_be_on_s3(repository: Path, location: str, tmp_path: Path) -> None:
    from components.shared.storage import filesystem

    for path in repository.iterdir():
        filesystem.put(path, f"{location}/{path.name}")

    folder = fetched(tmp_path, location)

    assert models.read_record(folder).lineage[0].what == f"weights {location}"


def test_other_statistics_are_named(
    hub: Hub, repository: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changed(repository, lambda config: config["pretrained_cfg"].update(mean=[0.5, 0.5, 0.5]))

    fetched(tmp_path)

    assert f"{NAME} saw images normalised with a mean of (0.5, 0.5, 0.5)" in caplog.text


def test_nothing_is_written_to_the_home_directory(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()

    command = ["-m", "components.initial_model", "--model", str(tmp_path / "model")]
    subprocess.run(
        [sys.executable, *command, "--backbone", "resnet10t"],
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        check=True,
    )

    assert (tmp_path / "model" / "training.json").is_file()
    assert list(home.iterdir()) == []


def changed(repository: Path, change: Callable[[dict], object]) -> None:
    path = repository / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def without(name: str) -> Callable[[Path], None]:
    return lambda repository: (repository / name).unlink()


def not_finite(repository: Path) -> None:
    tensors = load_file(repository / "model.safetensors")
    tensors["conv1.0.weight"].flatten()[0] = np.nan
    save_file(tensors, repository / "model.safetensors")


def missing_tensor(repository: Path) -> None:
    tensors = load_file(repository / "model.safetensors")
    del tensors["layer1.0.conv1.weight"]
    save_file(tensors, repository / "model.safetensors")


def cut(repository: Path) -> None:
    content = (repository / "model.safetensors").read_bytes()
    (repository / "model.safetensors").write_bytes(content[: len(content) // 2])


def other_architecture(repository: Path) -> None:
    changed(repository, lambda config: config.update(architecture="resnet18"))


def grey(repository: Path) -> None:
    shutil.rmtree(repository)
    hubs.write(repository, in_chans=1)


REFUSED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no config": (without("config.json"), f"{NAME}: not a timm model"),
    "no weights": (without("model.safetensors"), f"{NAME}: no weights there"),
    "not finite": (not_finite, "weights=imagenet: conv1.0.weight has values that are not finite"),
    "a tensor less": (missing_tensor, "does not load these weights: .*layer1.0.conv1.weight"),
    "cut": (cut, "weights=imagenet: model.safetensors: cut"),
    "another architecture": (other_architecture, "holds a resnet18: cannot initialize a resnet10t"),
    "grey images": (grey, "for images of 1 channels, not of 3"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_started_from_is_refused_in_a_sentence(
    name: str, hub: Hub, repository: Path, tmp_path: Path
) -> None:
    damage, message = REFUSED[name]
    damage(repository)

    with pytest.raises(UserError, match=message) as refused:
        fetched(tmp_path)

    assert len(str(refused.value).splitlines()) == 1
    assert str(tmp_path) not in str(refused.value) and "/tmp" not in str(refused.value)
    assert not (tmp_path / "initial").exists()


@pytest.mark.parametrize(
    ("weights", "backbone", "message"),
    [
        ("hf-hub:some/body", "resnet10t", "some/body: no such repository, or a private one"),
        (f"hf-hub:{NAME}@v9", "resnet10t", "@v9: no such revision"),
        ("hf-hub:a/b/c", "resnet10t", "a/b/c: no repository's name"),
        ("hf-hub:", "resnet10t", "no repository's name"),
        ("imagenet", "resnet10x", "timm has no such model"),
        ("imagenet", "resnet10t.nosuch", "Invalid pretrained tag"),
        ("imagenet", "test_vit4", "timm has no weights for it|no such repository"),
    ],
)
def test_what_is_not_on_the_hub_is_the_users_error(
    weights: str, backbone: str, message: str, hub: Hub, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        fetched(tmp_path, weights, backbone)


def test_a_repository_with_terms_names_them(hub: Hub, tmp_path: Path) -> None:
    hub.gated = True
    with pytest.raises(UserError, match="accept its terms there, then set HF_TOKEN"):
        fetched(tmp_path)


def test_an_address_that_is_no_hub_is_the_users_error(hub: Hub, tmp_path: Path) -> None:
    hub.status = 404
    with pytest.raises(UserError, match="answers 404 .*: is HF_ENDPOINT that of a hub"):
        fetched(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-8], "could not be fetched .*Consistency check failed"),
        (
            lambda content: content[:-1] + bytes([content[-1] ^ 1]),
            "is damaged: its checksum is not the hub's",
        ),
    ],
)
def test_what_is_damaged_on_the_way_may_be_fetched_again(
    damage: Callable[[bytes], bytes], message: str, hub: Hub, tmp_path: Path
) -> None:
    hub.damage = damage
    with pytest.raises(StorageError, match=message):
        fetched(tmp_path)

    hub.damage = lambda content: content
    fetched(tmp_path)


def test_a_hub_that_is_down_may_be_up_again(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "_PATIENCE", 30.0)
    hub.status = 503
    threading.Timer(0.5, lambda: setattr(hub, "status", 0)).start()

    fetched(tmp_path)

    assert len([request for request in hub.requests if "/api/" in request]) > 1


@pytest.mark.parametrize("endpoint", ["down", "http://127.0.0.1:9", "http://nowhere.invalid"])
def test_without_a_network_it_says_what_to_do(
    endpoint: str,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.status = 503
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint if endpoint == "down" else endpoint)
    argv = ["--model", str(tmp_path / "initial"), "--backbone", "resnet10t"]
    started = time.monotonic()

    with pytest.raises(SystemExit, match="1"):
        cli.main(initial_model, argv)

    assert time.monotonic() - started < 5
    (message,) = [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]
    assert NAME in message and "HF_ENDPOINT" in message
    assert "--weights imagenet --backbone resnet10t --model FOLDER" in message
    assert len(message.splitlines()) == 1


def test_a_killed_fetch_leaves_nothing_and_is_repeated(hub: Hub, tmp_path: Path) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slow(content: bytes) -> bytes:
        arrived.set()
        go_on.wait(60)
        return content

    hub.damage = slow
    command = ["-m", "components.initial_model", "--model", str(tmp_path / "out" / "initial")]
    process = subprocess.Popen([sys.executable, *command, "--backbone", "resnet10t"])
    assert arrived.wait(60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    go_on.set()
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []

    fetched(tmp_path)


PRETRAININGS = {
    wt_pretrain: ("keywords",),
    lw_pretrain: ("labels", "evaluation"),
    multitask_pretrain: ("keywords", "labels", "evaluation"),
}
# Nothing moves at such a rate, so the weights are those that training began with.
STILL = replace(TRAINING, epochs=1, epoch_images=8, learning_rate=1e-12, weight_decay=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("pretraining", PRETRAININGS, ids=lambda stage: stage.__name__)
def test_pretraining_and_finetuning_start_from_what_was_fetched(
    pretraining: Callable[..., None], hub: Hub, repository: Path, tmp_path: Path
) -> None:
    data = ColouredSquares.write(tmp_path / "squares")
    initial = fetched(tmp_path)
    inputs = [getattr(data, name) for name in PRETRAININGS[pretraining]]
    pretrained, tuned = tmp_path / "pretrained", tmp_path / "tuned"

    pretraining(
        data.images,
        *inputs,
        pretrained,
        tmp_path / "report.html",
        initial_model=initial,
        training=STILL,
    )
    finetune(
        data.images,
        data.labels,
        data.evaluation,
        tuned,
        tmp_path / "predictions.parquet",
        tmp_path / "report.html",
        initial_model=initial,
        training=STILL,
    )

    given = load_file(repository / "model.safetensors")
    trunk = [name for name in given if not name.startswith("fc.") and "running" not in name]
    for made in (pretrained, tuned):
        after = load_file(made / "model.safetensors")
        for name in filter(lambda name: "num_batches" not in name, trunk):
            torch.testing.assert_close(after[name], given[name], rtol=0, atol=1e-8)
        lineage = models.read_record(made).lineage
        assert [each.images for each in lineage] == [0, 8]
        assert lineage[0].what == f"ImageNet weights {NAME}"
