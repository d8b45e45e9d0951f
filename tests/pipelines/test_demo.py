import io
import json
import re
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.shared.stage.errors import UserError
from pipelines.demo import captions, drawing, tagger, webvision
from pipelines.demo.__main__ import main
from pipelines.demo.concepts import COLORS, CONCEPTS, PATTERNS, Depiction, classes, taxonomy
from pipelines.demo.search import Found, depict, search
from pipelines.demo.settings import DataSettings

pytestmark = pytest.mark.slow
SMALL = DataSettings(train_images=240, validation_images=40, test_images=20)
DEFAULT = DataSettings()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    webvision.write(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def found() -> list[Found]:
    return find()


def find(
    *,
    kinds: int = 1,
    wrong: float = DEFAULT.wrong_images,
    imbalance: float = DEFAULT.imbalance,
) -> list[Found]:
    rng = np.random.default_rng(0)
    return search(classes(kinds), 7_000, wrong=wrong, imbalance=imbalance, rng=rng)


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()]


def training_images(folder: Path) -> dict[str, bytes]:
    return members(folder / "webvision_train_00.tar") | members(folder / "webvision_train_01.tar")


def is_sound(content: bytes) -> bool:
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


def test_all_listed_images_but_one_are_in_the_tars(folder: Path) -> None:
    listed = [
        path
        for source in ("google", "flickr")
        for path, _ in lines(folder / "info" / f"train_filelist_{source}.txt")
    ]

    there = set(training_images(folder))

    assert len(listed) == len(set(listed))
    assert there < set(listed)
    assert len(set(listed) - there) == 1


def test_five_training_images_are_damaged(folder: Path) -> None:
    sound = [is_sound(content) for content in training_images(folder).values()]

    assert sound.count(False) == 5


def test_images_are_64_pixels_wide(folder: Path) -> None:
    sound = [content for content in training_images(folder).values() if is_sound(content)]

    assert {Image.open(io.BytesIO(content)).size for content in sound} == {(64, 64)}


@pytest.mark.parametrize("source", ["google", "flickr"])
def test_each_image_but_one_has_its_record(folder: Path, source: str) -> None:
    records = {
        name: json.loads(content.replace(b"\\here", b"here"))
        for name, content in members(folder / f"{source}.tar").items()
    }
    images = lines(folder / "info" / f"train_filelist_{source}.txt")
    positions = lines(folder / "info" / f"train_meta_list_{source}.txt")

    found = [
        records[file][int(position) - 1]["id"] if int(position) <= len(records[file]) else None
        for file, position in positions
    ]

    wanted = [Path(path).stem for path, _ in images]
    assert len(found) == len(wanted)
    assert [have for have, want in zip(found, wanted, strict=True) if have != want] == [None]


def test_one_metadata_file_of_a_source_holds_an_escape_that_json_forbids(folder: Path) -> None:
    broken = []
    for name, content in members(folder / "google.tar").items():
        try:
            json.loads(content)
        except json.JSONDecodeError as error:
            broken.append((name, error.msg))

    assert [message for _, message in broken] == ["Invalid \\escape"]


def test_queries_lead_to_the_labels_of_the_file_lists(folder: Path) -> None:
    label_of = dict(lines(folder / "info" / "queries_synsets_map.txt"))

    for source in ("google", "flickr"):
        for path, label in lines(folder / "info" / f"train_filelist_{source}.txt"):
            query = int(path.split("/")[1].removeprefix("q"))
            assert label_of[str(query)] == label


def test_the_validation_set_is_balanced(folder: Path) -> None:
    listed = lines(folder / "val_filelist.txt")

    assert Counter(int(label) for _, label in listed) == dict.fromkeys(range(20), 2)
    assert {f"val_images_resized/{name}" for name, _ in listed} == set(
        members(folder / "val_images_resized.tar")
    )


def test_the_same_data_are_drawn_each_time(folder: Path, tmp_path: Path) -> None:
    webvision.write(tmp_path / "again", SMALL)

    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) == 20
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (folder / file).read_bytes(), file


def test_a_complete_data_set_is_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    webvision.write(folder, SMALL)

    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_the_validation_and_test_images_are_the_same_whatever_the_training_set(
    folder: Path, tmp_path: Path
) -> None:
    noisy = replace(SMALL, train_images=60, wrong_images=0.9, off_topic_texts=0.8, imbalance=2)

    webvision.write(tmp_path / "noisy", noisy)

    files = ("val_filelist.txt", "val_images_resized.tar")
    files += ("test_filelist.txt", "test_images_resized.tar")
    for file in files:
        assert (tmp_path / "noisy" / file).read_bytes() == (folder / file).read_bytes(), file


def test_other_settings_draw_the_folder_anew(tmp_path: Path) -> None:
    settings = DataSettings(train_images=40, validation_images=20, test_images=20)
    webvision.write(tmp_path / "data", settings)
    before = training_images(tmp_path / "data")

    webvision.write(tmp_path / "data", replace(settings, wrong_images=0.9))

    assert training_images(tmp_path / "data") != before


def test_settings_are_read_from_the_values_of_a_recipe_or_of_a_command_line() -> None:
    assert webvision.parse({}) == DEFAULT
    assert webvision.parse({"train_images": 4000, "wrong_images": 0.4, "imbalance": 1}) == replace(
        DEFAULT, train_images=4_000, wrong_images=0.4, imbalance=1.0
    )
    assert webvision.parse({"train_images": "4_000", "off_topic_texts": "1e-1"}) == replace(
        DEFAULT, train_images=4_000, off_topic_texts=0.1
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("wrong_labels", 0.4, "no setting 'wrong_labels'; there are kinds, "),
        ("train_images", 4000.5, "train_images=4000.5: must be an integer"),
        ("test_images", True, "test_images=True: must be an integer"),
        ("wrong_images", "many", "wrong_images='many': must be a finite number"),
        ("wrong_images", 40, "wrong_images=40.0: must be at least 0 and at most 1"),
        ("off_topic_texts", float("nan"), "off_topic_texts=nan: must be a finite number"),
        ("validation_images", 19, "validation_images=19: must be at least 20"),
        ("imbalance", 0.5, "imbalance=0.5: must be at least 1"),
        ("kinds", 7, "kinds=7: must be at least 1 and at most 6"),
    ],
)
def test_settings_that_cannot_be_drawn_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        webvision.parse({name: value})


def test_settings_with_fewer_images_than_classes_are_refused() -> None:
    message = "validation_images=119: must be at least 120, one of each class"

    with pytest.raises(UserError, match=message):
        webvision.parse({"kinds": 6, "validation_images": 119})


def test_the_command_takes_each_setting_as_an_option(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    options = {"train_images": 40, "validation_images": 20, "test_images": 20, "wrong_images": 0.5}
    argv = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]

    main([str(folder), *argv])

    before = (folder / "demo.json").stat().st_mtime_ns
    webvision.write(folder, webvision.parse(options))
    assert (folder / "demo.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("thesis.tex", b"", "not empty: name a new folder"),
        ("demo.json", b"", "demo.json: damaged .*: name a new folder"),
        ("demo.json", b"[1]", "demo.json: damaged"),
        ("demo.json", b"{}", "demo.json: damaged"),
        ("demo.json", b"\xff", "demo.json: damaged"),
    ],
)
def test_a_folder_with_other_files_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UserError, match=message):
        webvision.write(tmp_path, SMALL)

    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_tagger_that_nltk_loads_tags_sentences_it_has_not_seen(folder: Path) -> None:
    from nltk.tag.perceptron import PerceptronTagger

    trained = PerceptronTagger(load=False)
    trained.decode_json_params(
        json.loads((folder / "tagger" / name).read_text()) for name in trained.param_files()
    )
    unseen = tagger.sentences(CONCEPTS, 500, np.random.default_rng(77))

    right = [
        guess == tag
        for sentence in unseen
        for (_, guess), (_, tag) in zip(
            trained.tag([word for word, _ in sentence]), sentence, strict=True
        )
    ]

    assert np.mean(right) >= 0.98


@pytest.mark.parametrize("kinds", [1, 2, 6])
def test_the_taxonomy_is_closed_and_its_leaves_are_the_classes(kinds: int) -> None:
    records = {str(record["wnid"]): record for record in taxonomy(kinds)}

    above = {wnid for record in records.values() for wnid in record["hypernyms"]}  # type: ignore[attr-defined]
    assert above <= set(records)
    assert [concept.wnid for concept in classes(kinds)] == [w for w in records if w not in above]
    assert {len(wnid) for wnid in records} == {9}


def test_kinds_of_a_concept_are_siblings_whose_patterns_and_colors_differ() -> None:
    parents = {record["wnid"]: record["hypernyms"] for record in taxonomy(6)}
    concepts = {record["wnid"]: record["lemmas"] for record in taxonomy(1)}

    families = [classes(6)[first : first + 6] for first in range(0, 120, 6)]

    assert len(families) == 20
    for concept, family in zip(CONCEPTS, families, strict=True):
        assert {tuple(parents[kind.wnid]) for kind in family} == {(concept.wnid,)}  # type: ignore[arg-type]
        assert {kind.family for kind in family} <= set(concepts[concept.wnid])  # type: ignore[call-overload]
        assert {kind.pattern for kind in family} == set(PATTERNS)
        assert len({kind.color for kind in family}) == 6


def test_no_two_kinds_have_a_name_in_common() -> None:
    lemmas = [lemma for kind in classes(6) for lemma in kind.lemmas]

    assert len(set(lemmas)) == len(lemmas) == 240


def test_most_images_of_a_kind_have_its_pattern_and_its_color() -> None:
    rng, kind = np.random.default_rng(0), classes(6)[50]

    views = [depict(kind, rng) for _ in range(1_000)]

    assert 0.8 < np.mean([view.pattern == kind.pattern for view in views]) < 0.95
    assert 0.8 < np.mean([view.color == kind.color for view in views]) < 0.95
    assert all(view.color != view.accent for view in views)


@pytest.mark.parametrize("imbalance", [1, 3, DEFAULT.imbalance, 100])
def test_the_most_frequent_class_has_so_many_times_the_images_of_the_rarest(
    imbalance: float,
) -> None:
    counts = Counter(image.label for image in find(imbalance=imbalance))

    assert len(counts) == 20
    assert max(counts.values()) / min(counts.values()) == pytest.approx(imbalance, rel=0.05)
    assert counts.total() == pytest.approx(7_000, abs=20)


@pytest.mark.parametrize("kinds", [1, 6])
@pytest.mark.parametrize("share", [0.1, DEFAULT.wrong_images, 0.8])
def test_so_many_labels_are_wrong_and_siblings_are_the_most_likely_mistake(
    kinds: int, share: float
) -> None:
    found, concepts = find(kinds=kinds, wrong=share), classes(kinds)
    wrong = [image for image in found if image.shown != image.label]
    clutter = [image for image in wrong if image.shown is None]
    siblings = [
        image
        for image in wrong
        if image.shown is not None and concepts[image.shown].family == concepts[image.label].family
    ]

    assert len(wrong) / len(found) == pytest.approx(share, abs=0.02)
    assert len(siblings) > len(clutter) > len(wrong) - len(siblings) - len(clutter) > 0


def test_at_the_ends_of_its_range_no_label_is_wrong_or_every_one() -> None:
    assert all(image.shown == image.label for image in find(wrong=0))
    assert not any(image.shown == image.label for image in find(wrong=1))


def share_of_telling_texts(off_topic_share: float) -> float:
    """Return the share of 2,000 texts that name the concept shown or its family."""
    rng = np.random.default_rng(0)
    telling = 0
    for i in range(2_000):
        concept = CONCEPTS[i % len(CONCEPTS)]
        depiction = depict(concept, rng)
        record = captions.record(depiction, "query", off_topic_share=off_topic_share, rng=rng)
        text = " ".join(record.values()).lower()
        telling += any(name in text for name in (concept.family, *concept.lemmas))
    return telling / 2_000


def test_so_many_texts_do_not_tell_what_is_shown() -> None:
    most = share_of_telling_texts(0)

    assert most > 0.9
    assert share_of_telling_texts(0.1) == pytest.approx(0.9 * most, abs=0.03)
    assert share_of_telling_texts(0.6) == pytest.approx(0.4 * most, abs=0.03)
    assert share_of_telling_texts(1) == 0


def test_texts_name_what_is_shown_rather_than_the_label(found: list[Found]) -> None:
    rng = np.random.default_rng(0)
    shown = labelled = 0
    for image in found:
        concept = image.depiction.concept
        if concept is None or concept.family == CONCEPTS[image.label].family:
            continue
        record = captions.record(image.depiction, "query", off_topic_share=0.1, rng=rng)
        text = " ".join(record.values()).lower()
        shown += concept.family in text
        labelled += CONCEPTS[image.label].family in text

    assert shown > 100
    assert labelled == 0


def test_most_texts_name_the_kind_and_the_others_its_concept() -> None:
    rng = np.random.default_rng(0)
    kind = broad = 0
    for concept in [*classes(6)] * 10:
        record = captions.record(depict(concept, rng), "query", off_topic_share=0, rng=rng)
        text = " ".join(record.values()).lower()
        kind += any(name in text for name in concept.lemmas)
        broad += concept.family in text and not any(name in text for name in concept.lemmas)

    assert kind > broad > 0
    assert kind + broad > 0.9 * 1_200


@pytest.mark.parametrize("color", ["red", "green", "blue", "yellow"])
def test_the_named_color_is_the_color_drawn(color: str) -> None:
    depiction = Depiction(CONCEPTS[4], "plain", color, "white", "studio", "clear", "large")
    pictures = [drawing.draw(depiction, np.random.default_rng(seed)) for seed in range(20)]

    centers = [np.asarray(Image.open(io.BytesIO(p)))[28:36, 28:36] for p in pictures]
    mean = np.mean(centers, axis=(0, 1, 2))

    distances = {name: np.linalg.norm(mean - rgb) for name, rgb in COLORS.items()}
    assert min(distances, key=lambda name: distances[name]) == color
