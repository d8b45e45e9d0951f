import errno
import hashlib
import io
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import RandomResizedCrop

from components.shared.data.image_set import ImageSet
from components.shared.stage.boundary import ending
from components.shared.stage.errors import StorageError, UserError
from components.shared.storage import filesystem, shard_cache
from components.shared.storage.shard_cache import Shard
from components.shared.training import transforms
from components.shared.training.views import Crop
from tests.synthetic import coloured_squares, image_set


def encoded(image: Image.Image, kind: str) -> memoryview:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return memoryview(buffer.getvalue())


def gradient(width: int, height: int) -> torch.Tensor:
    """Pixels whose red is their column and whose green is their row."""
    columns = torch.arange(width, dtype=torch.uint8).expand(height, width)
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    return torch.stack([columns, rows, torch.zeros_like(rows)])


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGB"), ("PNG", "P"), ("GIF", "L"), ("JPEG", "L")]
)
def test_every_kind_of_image_becomes_three_channels(kind: str, mode: str) -> None:
    image = Image.new("RGB", (20, 10), (102, 102, 102)).convert(mode)
    pixels = transforms.decoded(encoded(image, kind))
    assert pixels.shape == (3, 10, 20)
    assert pixels.float().sub(102).abs().max() <= 2


def test_a_jpeg_is_decoded_as_pil_decodes_it() -> None:
    (picture,), _ = coloured_squares(1, 32, seed=0)
    jpeg = encoded(picture, "JPEG")
    with Image.open(io.BytesIO(jpeg)) as image:
        expected = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    difference = transforms.decoded(jpeg).float() - expected
    assert difference.abs().max() <= 2


def test_the_evaluation_crop_of_256_pixels_at_224_is_its_middle_unchanged() -> None:
    image = gradient(256, 256)
    assert torch.equal(transforms.evaluation_crop(image, 224), image[:, 16:240, 16:240])


def test_the_evaluation_crop_of_a_tiny_image_is_enlarged() -> None:
    # 0.875 · 32 = 28 pixels, columns 10 … 37, of which 32 are made: the first and the last stay.
    crop = transforms.evaluation_crop(gradient(48, 32), 32)
    assert crop.shape == (3, 32, 32)
    assert crop[0, 0, [0, -1]].tolist() == [10, 37]


def test_the_evaluation_crop_of_a_large_image_is_scaled_down() -> None:
    crop = transforms.evaluation_crop(gradient(240, 160), 70)
    # 0.875 · 160 = 140 pixels, rows 10 … 149, halved: the first is the mean of rows near 10.5.
    assert crop.shape == (3, 70, 70)
    assert crop[1, 0, 0].item() == pytest.approx(10.5, abs=1)
    assert crop[0, 0, 0].item() == pytest.approx(50.5, abs=1)


def test_a_crop_of_a_share_is_enlarged_where_it_is_small() -> None:
    image = gradient(48, 32)
    assert torch.equal(transforms.evaluation_crop(image, 16, 0.5), image[:, 8:24, 16:32])
    # 0.75 · 32 = 24 pixels, columns 12 … 35, of which 32 are made: the first and the last stay.
    crop = transforms.evaluation_crop(image, 32, 0.75)
    assert crop.shape == (3, 32, 32)
    assert crop[0, 0, [0, -1]].tolist() == [12, 35]


def test_a_training_crop_is_determined_by_its_random_numbers() -> None:
    image = gradient(60, 40)
    first, again, other = (
        transforms.training_crop(image, 16, 0.08, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_training_crops_cover_the_image_and_are_flipped_half_the_time() -> None:
    image, random = gradient(60, 60), np.random.default_rng(0)
    crops = torch.stack([transforms.training_crop(image, 8, 0.08, random) for _ in range(1000)])
    flipped = (crops[:, 0, 0, 0] > crops[:, 0, 0, -1]).float().mean().item()
    assert flipped == pytest.approx(0.5, abs=0.05)
    assert crops[:, 0].amin() <= 2
    assert crops[:, 0].amax() >= 57


def test_random_boxes_are_distributed_as_torchvisions() -> None:
    transform, random = RandomResizedCrop(8, scale=(0.2, 1)), np.random.default_rng(0)
    image = torch.zeros(3, 100, 150)
    torch.manual_seed(0)
    theirs = [transform.make_params([image]) for _ in range(4000)]
    ours = np.array([transforms.random_box(100, 150, 0.2, random) for _ in range(4000)])
    names = ("top", "left", "height", "width")
    expected = np.array([[params[name] for name in names] for params in theirs])
    assert ours.mean(axis=0) == pytest.approx(expected.mean(axis=0), rel=0.04)
    assert ours.std(axis=0) == pytest.approx(expected.std(axis=0), rel=0.04)


def test_a_crop_is_the_same_however_its_channels_lie_and_leaves_them_last() -> None:
    (picture,), _ = coloured_squares(1, 64, seed=0)
    last = transforms.decoded(encoded(picture, "JPEG"))
    first = last.contiguous()
    for size in (16, 56):
        random, again = np.random.default_rng(0), np.random.default_rng(0)
        batch = transforms.empty_batch(2, size)
        batch[0] = transforms.training_crop(last, size, 0.08, random)
        batch[1] = transforms.evaluation_crop(last, size)
        assert torch.equal(batch[0], transforms.training_crop(first, size, 0.08, again))
        assert torch.equal(batch[1], transforms.evaluation_crop(first, size))
        assert transforms.training_crop(last, size, 0.08, random).stride() == batch.stride()[1:]


def test_an_image_much_wider_than_high_is_still_cropped() -> None:
    crop = transforms.training_crop(gradient(250, 4), 8, 0.9, np.random.default_rng(0))
    assert crop.shape == (3, 8, 8)


def test_normalized_pixels_have_imagenets_mean_and_deviation() -> None:
    batch = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 1, 1)
    values = transforms.normalized(batch, torch.device("cpu"))
    assert values[0, 0].item() == pytest.approx((0 - 0.485) / 0.229)
    assert values[1, 2].item() == pytest.approx((1 - 0.406) / 0.225)


def test_pixels_normalised_for_an_evaluation_first_can_be_trained_on_later() -> None:
    # What is made in inference mode cannot take part in gradients, and the statistics are kept.
    transforms._statistics.cache_clear()
    batch = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    with torch.inference_mode():
        expected = transforms.normalized(batch, torch.device("cpu")).clone()
    weight = torch.ones(1, 3, 1, 1, requires_grad=True)
    pixels = transforms.normalized(batch, torch.device("cpu"))
    torch.conv2d(pixels, weight).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, expected.sum(dim=(2, 3), keepdim=True))


def test_evaluation_batches_hold_every_image_at_every_size(tmp_path: Path) -> None:
    drawn, labels = coloured_squares(7, 40, seed=0)
    images = image_set(tmp_path, drawn)
    numbers = np.array([6, 0, 3, 1, 5], np.int64)
    seen = list(
        transforms.evaluation_batches(images, [numbers], [Crop(32), Crop(16)], batch_size=2)
    )
    assert [part.tolist() for part, _ in seen] == [[6, 0], [3, 1], [5]]
    assert [tuple(crop.shape) for crop in seen[2][1]] == [(1, 3, 32, 32), (1, 3, 16, 16)]
    for part, (crop, _) in seen:
        brightest = crop.float().mean(dim=(2, 3)).argmax(dim=1)
        assert brightest.tolist() == [labels[number] for number in part]


def test_an_evaluation_batch_ends_where_its_stretch_ends(tmp_path: Path) -> None:
    images = image_set(tmp_path, coloured_squares(7, 40, seed=0)[0])
    seen = transforms.evaluation_batches(
        images, [range(2, 5), range(0), range(6)], [Crop(8)], batch_size=2
    )
    assert [part.tolist() for part, _ in seen] == [[2, 3], [4], [0, 1], [2, 3], [4, 5]]


def test_evaluation_says_when_the_reading_of_the_next_shards_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = image_set(tmp_path, coloured_squares(9, 40, seed=0)[0], images_per_shard=3)
    events: list[object] = []

    @contextmanager
    def ahead(groups: Iterable[Sequence[Shard]]) -> Iterator[Callable[[], None]]:
        for group in groups:
            events.append([Path(shard.uri).stem[-1] for shard in group])
        yield lambda: events.append("next")

    monkeypatch.setattr(shard_cache, "ahead", ahead)
    stretches = [np.array([0, 1, 2, 4, 5, 6, 7, 8])]
    for part, _ in transforms.evaluation_batches(images, stretches, [Crop(8)], batch_size=2):
        events.append(part.tolist())
    assert events[:4] == [["0"], ["0", "1"], ["1", "2"], ["2"]]
    assert events[4:] == [[0, 1], "next", [2, 4], "next", [5, 6], "next", [7, 8]]


def test_shards_on_s3_are_there_before_an_evaluation_reads_them(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBLY_CACHE", str(tmp_path / "cache"))
    local = image_set(tmp_path, coloured_squares(8, 40, seed=0)[0], images_per_shard=2)
    for shard in local.shards:
        filesystem.put(Path(shard.uri), f"{bucket}/{Path(shard.uri).name}")
    remote = replace(
        local,
        shards=[replace(each, uri=f"{bucket}/{Path(each.uri).name}") for each in local.shards],
    )
    seen = transforms.evaluation_batches(remote, [range(8)], [Crop(8)], batch_size=2)
    next(seen)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "cache").glob("*.tar"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    expected = transforms.evaluation_batches(local, [range(2, 8)], [Crop(8)], batch_size=2)
    for (numbers, (crops,)), (again, (same,)) in zip(seen, expected, strict=True):
        assert numbers.tolist() == again.tolist()
        assert torch.equal(crops, same)


class Failing(Dataset[Tensor]):
    """Items of which the fourth cannot be had."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getitem__(self, number: int) -> Tensor:
        if number == 3:
            raise self._error
        return torch.zeros(())


def _of_a_disk() -> OSError:
    error = OSError(errno.EROFS, "Read-only file system")
    error.filename = "/cache/x.lock"
    return error


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "error",
    [UserError("a shard is damaged"), StorageError("no answer"), _of_a_disk()],
    ids=lambda error: type(error).__name__,
)
def test_what_a_worker_raises_for_users_is_raised_as_it_is(
    error: Exception, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "num_workers", lambda: workers)
    seen = 0
    with pytest.raises(type(error)) as raised:
        for _ in transforms.batches(Failing(error), range(10)):
            seen += 1
    assert seen == 3
    assert ending(raised.value) == ending(error) is not None


def overwrite(images: ImageSet, number: int, content: bytes) -> ImageSet:
    """Write into an image's place in its shard, as if it had always been there."""
    changed, length, offset = images.index[number].tolist()
    path = Path(images.shards[changed].uri)
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content[:length])
    shards = list(images.shards)
    shards[changed] = replace(shards[changed], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return replace(images, shards=shards)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("content", [bytes(10_000), b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n"])
def test_an_image_that_cannot_be_decoded_is_named_with_its_shard(
    content: bytes, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transforms, "num_workers", lambda: workers)
    images = image_set(tmp_path, coloured_squares(7, 40, seed=0)[0], images_per_shard=3)
    images = overwrite(images, 4, content)
    with pytest.raises(UserError) as caught:
        list(transforms.evaluation_batches(images, [range(7)], [Crop(8)], batch_size=2))
    message = str(caught.value)
    assert message.startswith("picture000004.jpg ") and images.shards[1].uri in message
    assert "run ingest again" in message


def test_what_a_decoder_complains_of_is_logged_with_the_images_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    images = image_set(tmp_path, coloured_squares(3, 40, seed=0)[0])
    encoded = bytes(images.read(1))
    images = overwrite(images, 1, encoded[: len(encoded) * 3 // 4] + b"\xff\xd9")
    with caplog.at_level(logging.WARNING):
        pixels = [transforms.picture(images, number) for number in range(3)]
    assert [tuple(each.shape) for each in pixels] == 3 * [(3, 40, 40)]
    (record,) = caplog.records
    assert record.message.startswith("picture000001.jpg ")
    assert record.message.endswith(": Corrupt JPEG data: premature end of data segment")
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_process_that_fails_ends_with_its_workers() -> None:
    script = """if True:
        import signal, sys
        from components.shared.training import transforms
        from tests.shared.training.test_transforms import Failing
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # as stages do
        transforms.num_workers = lambda: 2
        for _ in transforms.batches(Failing(OSError()), range(3)):
            raise RuntimeError("a bug")
    """
    ended = subprocess.run([sys.executable, "-c", script], timeout=100, capture_output=True)
    assert ended.returncode == 1
    assert b"RuntimeError: a bug" in ended.stderr
