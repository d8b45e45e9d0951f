import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from components.audit.duplicates import DISTANCE, Duplicates, Pairs
from components.audit.hashes import Hashes
from components.shared.data.image_set import ImageSet
from tests.synthetic import image_set, targets


def flipped(hash: NDArray[np.uint64], bits: list[int]) -> NDArray[np.uint64]:
    changed = hash.copy()
    for bit in bits:
        changed[bit // 64] ^= np.uint64(1) << np.uint64(bit % 64)
    return changed


def test_pairs_are_those_that_comparing_all_with_all_finds() -> None:
    random = np.random.default_rng(0)
    hashes = random.integers(0, 2**64, (300, 2), np.uint64)
    for number in range(100, 300):
        bits = random.choice(128, random.integers(0, 9), replace=False).tolist()
        hashes[number] = flipped(hashes[number % 100], bits)
    groups = random.integers(0, 3, 300)

    found = Pairs.found(hashes, groups)

    distances = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(axis=2)
    expected = {
        (one, other): int(distances[one, other])
        for one in range(300)
        for other in range(one + 1, 300)
        if distances[one, other] <= DISTANCE and groups[one] != groups[other]
    }
    pairs = zip(found.one.tolist(), found.other.tolist(), strict=True)
    assert dict(zip(pairs, found.distance.tolist(), strict=True)) == expected
    assert found.distance.tolist() == sorted(found.distance)
    assert 20 < len(expected) < 200


def test_bits_anywhere_are_found() -> None:
    random = np.random.default_rng(1)
    hash = random.integers(0, 2**64, 2, np.uint64)
    for start in range(0, 128, DISTANCE):
        other = flipped(hash, list(range(start, min(start + DISTANCE, 128))))
        spread = flipped(hash, [(start + 32 * i) % 128 for i in range(DISTANCE)])
        for changed in (other, spread):
            assert len(Pairs.found(np.stack([hash, changed]), np.arange(2)).one) == 1


def test_many_equal_pictures_do_not_make_all_pairs() -> None:
    pairs = Pairs.found(np.zeros((2_000, 2), np.uint64), np.arange(2_000) % 2)

    assert set(pairs.one) | set(pairs.other) == set(range(2_000))
    assert len(pairs.one) < 2_000 * 64


@pytest.fixture
def photographs(photos: Path) -> list[Image.Image]:
    import tarfile

    with tarfile.open(photos) as tar:
        members = [member for member in tar if member.isfile()][:60]
        files = [tar.extractfile(member) for member in members]
        return [Image.open(io.BytesIO(file.read())).convert("RGB") for file in files if file]


def recompressed(picture: Image.Image, side: int, quality: int) -> Image.Image:
    scale, buffer = side / min(picture.size), io.BytesIO()
    size = round(scale * picture.width), round(scale * picture.height)
    picture.resize(size).save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def hashed(images: ImageSet, folder: Path) -> Hashes:
    found = Hashes(str(folder), images)
    found.run("test")
    return found


@pytest.mark.slow
def test_recompressed_photographs_are_found_across_classes_and_splits(
    photographs: list[Image.Image], tmp_path: Path
) -> None:
    small = [recompressed(each, 256, 90) for each in photographs]
    again = [recompressed(each, 128, 60) for each in photographs]
    # Of forty, the first ten come again in another class, the next ten in their own; and ten more
    # are in the validation set.
    training = image_set(tmp_path / "t", small[:40] + again[:20], images_per_shard=16)
    validation = image_set(tmp_path / "v", again[20:30] + small[40:])
    labels = [number % 2 for number in range(40)]
    labels += [1 - label for label in labels[:10]] + labels[10:20]
    given = targets(tmp_path / "g", training.identity, [[(i, 1.0)] for i in labels], ["a", "b"])
    true = [[(number % 2, 1.0)] for number in range(len(validation))]
    known = targets(tmp_path / "k", validation.identity, true, ["a", "b"])

    hashes = hashed(training, tmp_path / "ht"), hashed(validation, tmp_path / "hv")
    found = Duplicates.of(*hashes, given, known)

    pairs = set(zip(found.pairs.one.tolist(), found.pairs.other.tolist(), strict=True))
    across = {(number, 40 + number) for number in range(10)}
    leaked = {(20 + number, 60 + number) for number in range(10)}
    assert pairs <= across | leaked
    assert len(pairs & across) >= 9 and len(pairs & leaked) >= 9
    assert (found.leaks, found.across) == (len(pairs & leaked), len(pairs & across))
