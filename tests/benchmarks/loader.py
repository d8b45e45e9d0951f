"""Photographs a core prepares per second, and others' loaders: images/s and ratios.

    uv pip install webdataset litdata mosaicml-streaming
    uv pip install --no-deps mosaicml-streaming  # its newest; it asks for transformers 4
    python -m tests.benchmarks.loader [photos.tar]

All make batches of 64 crops of 224 pixels, as uint8, with their targets, of the same JPEGs: of the
size they come in, and with 256 pixels on the short side as ingest stores them. torchvision and
webdataset do so as their documentation has it, with PIL, and as fast as they can: decoded to a
tensor by torchvision, cropped and flipped by transforms.v2 in uint8. So do Streaming and LitData.
The limit is the decoder that all of these call, without reading, cropping or anything else. One
core, no workers; what counts is processor time.
"""

import argparse
import hashlib
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from io import BytesIO
from itertools import chain, cycle, islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from components.ingest.encoding import stored
from components.shared.data.image_set import INDEX, ImageSet
from components.shared.storage.shard_cache import Shard
from components.shared.training import transforms
from components.shared.training.loop import _TrainingImages
from components.shared.training.sampling import Plan
from components.shared.training.settings import TrainingSettings
from components.shared.training.transforms import empty_batch
from tests.benchmarks.rounds import interleaved, machine, on_one_core, print_table, ratio
from tests.synthetic import targets

BATCH, SIZE, CLASSES, FULL = 64, 224, 10, 65_500
OURS = "ours"
CROP = [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip()]
FAST, USUAL = v2.Compose(CROP), v2.Compose([*CROP, v2.PILToTensor()])


def write(folder: Path, encoded: list[bytes]) -> None:
    """Write images to a folder per class, and to a shard for webdataset, with their class."""
    with tarfile.open(folder / "shard.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, content in enumerate(encoded):
            label = str(number % CLASSES)
            path = folder / "folders" / label / f"{number:09d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            for name, data in ((path.name, content), (f"{number:09d}.cls", label.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, BytesIO(data))


def ours(folder: Path) -> Iterator[Any]:
    """Yield batches as training does, from the same shard."""
    with tarfile.open(folder / "shard.tar") as tar:
        members = [member for member in tar if member.name.endswith(".jpg")]
    index = np.array([(0, member.size, member.offset_data) for member in members], INDEX)
    content = (folder / "shard.tar").read_bytes()
    shard = Shard(
        uri=str(folder / "shard.tar"),
        bytes=len(content),
        images=len(index),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    ids = pa.chunked_array([[member.name for member in members]])
    identity = ImageSet.save(folder / "images", [shard], index, ids, image_side=FULL, counts={})
    # Five keywords an image.
    pairs = [[((number + k) % CLASSES, 1.0) for k in range(5)] for number in range(len(index))]
    keywords = targets(folder / "targets", identity, pairs, [str(i) for i in range(CLASSES)])
    settings = TrainingSettings(image_size=SIZE)
    plan = Plan(
        keywords,
        balance=0.0,
        balance_on="any",
        max_repeats=20,
        seed=0,
        shard_images=[len(index)],
        window_shards=1,
    )
    examples = _TrainingImages(ImageSet.load(folder / "images"), keywords, settings)
    return iter(DataLoader(examples, batch_size=None, sampler=plan.micro_batches(BATCH)))


def torchvisions(folder: Path, **arguments: Any) -> Iterator[Any]:
    """Yield batches of torchvision's ImageFolder."""
    dataset = ImageFolder(str(folder / "folders"), **arguments)
    endless = RandomSampler(dataset, num_samples=1 << 30)
    return iter(DataLoader(dataset, BATCH, sampler=endless))


def webdatasets(folder: Path, decode: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield batches of webdataset."""
    import webdataset

    shard = str(folder / "shard.tar")
    endless = webdataset.WebDataset(shard, resampled=True, shardshuffle=False)
    dataset = decode(endless.shuffle(1000)).batched(BATCH)
    return iter(DataLoader(dataset, batch_size=None))


def streaming(folder: Path) -> Iterator[Any]:
    """Yield batches of Streaming's data set, in its own format."""
    from streaming import MDSWriter, StreamingDataset

    class Crops(StreamingDataset):  # type: ignore[misc, no-any-unimported, unused-ignore]
        def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
            sample = super().__getitem__(number)
            return FAST(decoded(sample["image"])), sample["label"]

    columns = {"image": "bytes", "label": "int"}
    with MDSWriter(out=str(folder / "streaming"), columns=columns) as writer:
        for path in sorted((folder / "folders").rglob("*.jpg")):
            writer.write(dict(zip(columns, _labelled(str(path)), strict=True)))
    dataset = Crops(local=str(folder / "streaming"), shuffle=True, batch_size=BATCH)
    return chain.from_iterable(repeat(DataLoader(dataset, BATCH, drop_last=True)))


def litdatas(folder: Path) -> Iterator[Any]:
    """Yield batches of LitData's data set, in its own format."""
    from litdata import StreamingDataLoader, StreamingDataset, optimize

    class Crops(StreamingDataset):  # type: ignore[misc, no-any-unimported, unused-ignore]
        def __getitem__(self, number: Any) -> tuple[torch.Tensor, int]:
            image, label = super().__getitem__(number)
            return FAST(decoded(image)), label

    optimize(
        fn=_labelled,
        inputs=[str(path) for path in sorted((folder / "folders").rglob("*.jpg"))],
        output_dir=str(folder / "litdata"),
        chunk_bytes="64MB",
        num_workers=1,
    )
    dataset = Crops(str(folder / "litdata"), shuffle=True)
    return chain.from_iterable(
        repeat(StreamingDataLoader(dataset, batch_size=BATCH, drop_last=True))
    )


def _labelled(path: str) -> tuple[bytes, int]:
    return Path(path).read_bytes(), int(Path(path).parent.name)


def decoder(encoded: list[bytes]) -> Iterator[Any]:
    """Yield the decoder's work for a batch, and crops that are always the same."""
    crops, stream = empty_batch(BATCH, SIZE), cycle(encoded)
    while True:
        for content in islice(stream, BATCH):
            decoded(content)
        yield (crops,)


def decoded(encoded: bytes) -> torch.Tensor:
    """Return an image as a tensor."""
    return transforms.decoded(memoryview(encoded))


def contestants(folder: Path, encoded: list[bytes]) -> Mapping[str, Callable[[], Iterator[Any]]]:
    """Return what makes the loaders, which never end."""
    return {
        OURS: partial(ours, folder),
        "the decoder alone": partial(decoder, encoded),
        "torchvision, PIL": partial(torchvisions, folder, transform=USUAL),
        "torchvision, tensors": partial(
            torchvisions,
            folder,
            transform=FAST,
            loader=lambda path: decode_image(path, mode=ImageReadMode.RGB),
        ),
        "webdataset, PIL": partial(
            webdatasets,
            folder,
            lambda images: images.decode("pil").to_tuple("jpg", "cls").map_tuple(USUAL, int),
        ),
        "webdataset, torchrgb8": partial(
            webdatasets,
            folder,
            lambda images: images.decode("torchrgb8").to_tuple("jpg", "cls").map_tuple(FAST, int),
        ),
        "webdataset, tensors": partial(
            webdatasets,
            folder,
            lambda images: images.to_tuple("jpg", "cls").map_tuple(
                lambda encoded: FAST(decoded(encoded)), int
            ),
        ),
        "Streaming, tensors": partial(streaming, folder),
        "LitData, tensors": partial(litdatas, folder),
    }


def measure(encoded: list[bytes], rounds: int, batches: int) -> Iterator[list[str]]:
    """Yield a row for each contestant: its name, images/s and the ratio to ours."""
    with tempfile.TemporaryDirectory() as temporary:
        write(Path(temporary), encoded)
        loaders = dict[str, Iterator[Any]]()
        for name, make in contestants(Path(temporary), encoded).items():
            try:
                loaders[name] = make()
            except ImportError as error:
                yield [name, f"not run: {error}", ""]

        def take(name: str) -> None:
            for _ in range(batches):
                crops = next(loaders[name])[0]
                assert crops.shape == (BATCH, 3, SIZE, SIZE) and crops.dtype == torch.uint8

        seconds = interleaved(
            {name: partial(take, name) for name in loaders}, rounds, time.process_time
        )
        for name in loaders:
            rate = BATCH * batches * rounds / sum(seconds[name])
            yield [name, f"{rate:.0f}", f"{ratio(seconds, OURS, name):.2f}"]


def main() -> None:
    """Print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, nargs="?", default="../shared/data/photos.tar")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=3, help="of each contestant in a round")
    arguments = parser.parse_args()
    if not arguments.photos.is_file():
        raise SystemExit(f"{arguments.photos}: not there; give a tar of photographs")
    on_one_core()
    with tarfile.open(arguments.photos) as tar:
        files = [tar.extractfile(member) for member in tar if member.isfile()]
        photos = [file.read() for file in files if file]
    print(f"one core of: {machine()}")
    for title, side in (("as they come", FULL), ("256 px on the short side", 256)):
        encoded = [stored(photo, side) for photo in photos]
        size = sum(map(len, encoded)) / len(encoded)
        print(f"\n{len(encoded)} photographs, {title}, {size / 1e3:.0f} kB each\n")
        rows = measure(encoded, arguments.rounds, arguments.batches)
        print_table(["", "images/s", "times ours takes"], rows)


if __name__ == "__main__":
    main()
