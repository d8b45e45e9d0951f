import json
import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from components.shared.data.targets import Targets
from components.shared.stage.errors import UserError
from components.shared.stage.fingerprint import ROOT
from components.shared.storage import filesystem
from components.weighting.documents import Documents, concept_texts
from components.weighting.neighbors import nearest
from tests.weighting.running import BIRDS, OWN, Run
from tests.weighting.taxonomies import table

pytest.importorskip("sentence_transformers", reason="needs the extra `embedding`")

# Owls and hawks have neighbours, a rose has none, and a tulip is outside WordNet.
MIXED = table(
    5,
    [
        ("n1", "hawk", "hunts mice by day", ["n6"]),
        ("n2", "owl", "hunts mice by night", ["n6"]),
        ("n3", "sparrow", "a small brown seed eater", ["n6"]),
        ("n4", "rose", "red", ["n7"]),
        ("tulip", "tulip", "", []),
        ("n6", "bird", "has feathers", []),
        ("n7", "flower", "", []),
    ],
)
TULIP = 4
WORDS = """
    sparrow house small brown seed eater hawk hunts mice by day owl night dog barks at bird has
    feathers animal red rose tulip oak and a the
"""


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sentence-transformers': a random BERT of one layer, and mean pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("model")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (folder / "vocab.txt").write_text("\n".join([*special, *WORDS.split()]))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(special) + len(WORDS.split()),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    bert = BertModel(config)
    with torch.no_grad():
        # Texts differ by their words, or all cosines would be near 1.
        embeddings = bert.embeddings
        embeddings.word_embeddings.weight.normal_()[: len(special)] = 0
        embeddings.position_embeddings.weight.zero_()
        embeddings.token_type_embeddings.weight.zero_()
    bert.save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    SentenceTransformer(str(folder / "bert")).save(str(folder / "saved"))
    return folder / "saved"


@pytest.fixture
def copy(model: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def weights(run: Run, model: Path | str, **parameters: Any) -> Targets:
    return run.weights(similarity="embedding", embedding_model=str(model), **parameters)


def cosines(model: Path, texts: list[str], concepts: Any) -> NDArray[np.float32]:
    """Return what the library itself finds, a text at a time."""
    from sentence_transformers import SentenceTransformer, util

    loaded = SentenceTransformer(str(model))
    documents = concept_texts(concepts)[: len(concepts) - concepts["label"].null_count]
    embedded = loaded.encode(documents)
    return np.stack([util.cos_sim(loaded.encode([text]), embedded)[0] for text in texts])


def random_images(count: int, classes: int) -> list[tuple[int, str]]:
    draw = random.Random(0)
    return [
        (draw.randrange(classes), " ".join(draw.choices(WORDS.split(), k=draw.randint(1, 20))))
        for _ in range(count)
    ]


def strongest(fits: NDArray[np.float32], label: int, candidates: Iterable[int], top_k: int) -> Any:
    """Return the candidates above 0, best first; the label is among the first `top_k`."""
    others = sorted((c for c in candidates if c != label and fits[c] > 0), key=lambda c: -fits[c])
    kept = [label, *others][:top_k] if fits[label] > 0 else others[:top_k]
    return sorted(kept, key=lambda c: -fits[c])


def test_weights_are_the_librarys_cosines_with_the_label_and_its_neighbours(
    tmp_path: Path, model: Path
) -> None:
    images = random_images(100, classes=5)
    run = Run(tmp_path, MIXED, images)

    found = weights(run, model, neighbors=2)

    near = [
        [label, *others]
        for label, others in enumerate(nearest(MIXED, Documents.of(MIXED).vectors, 2))
    ]
    expected = cosines(model, run.titles, MIXED)
    silent = 0
    for image, (label, _) in enumerate(images):
        candidates = range(5) if label == TULIP else near[label]
        kept = strongest(expected[image], label, candidates, top_k=5)
        classes, similarities = found[image]
        assert classes.tolist() == (kept or [label])
        assert similarities == pytest.approx(expected[image, kept] if kept else [0.5], abs=1e-5)
        silent += not kept
    assert run.metrics["fallback_share"] == silent / 100 > 0


def test_row_groups_and_batches_change_no_weight_by_more_than_rounding(
    tmp_path: Path, model: Path
) -> None:
    """A text is padded to the longest of its batch, which changes the order of sums."""
    images, made = random_images(150, classes=4), []
    for row_group_size in (7, 150):
        (tmp_path / str(row_group_size)).mkdir()
        run = Run(tmp_path / str(row_group_size), BIRDS, images, row_group_size)
        made.append(weights(run, model))

    assert made[0].offsets.tolist() == made[1].offsets.tolist()
    assert made[0].classes.tolist() == made[1].classes.tolist()
    np.testing.assert_allclose(made[0].weights, made[1].weights, atol=1e-6)


def test_a_text_without_words_leaves_the_label_with_the_fallback_weight(
    tmp_path: Path, model: Path
) -> None:
    images = [(3, ""), (1, "<br> https://x.org/owl"), (2, " — "), (2, "owl")]
    run = Run(tmp_path, BIRDS, images)

    found = weights(run, model, fallback_weight=0.25)

    for image in range(3):
        classes, similarities = found[image]
        assert (classes.tolist(), similarities.tolist()) == ([images[image][0]], [0.25])
    assert run.metrics["fallback_share"] == 3 / 4


def test_markup_is_not_embedded(tmp_path: Path, model: Path) -> None:
    marked = 'an <a href="http://x.org/dog">owl</a>\n\n &amp; mice www.dog.org/dog'

    found = weights(Run(tmp_path, BIRDS, [(2, marked), (2, "an owl & mice")]), model)

    assert found[0][0].tolist() == found[1][0].tolist()
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6)


def test_outside_wordnet_every_concept_is_a_candidate(tmp_path: Path, model: Path) -> None:
    images = random_images(50, classes=3)
    run = Run(tmp_path, OWN, images)

    for top_k in (1, 2, 5):
        found = weights(run, model, top_k=top_k)

        expected = cosines(model, run.titles, OWN)
        for image, (label, _) in enumerate(images):
            kept = strongest(expected[image], label, [0, 1, 2], top_k)
            classes, similarities = found[image]
            assert classes.tolist() == (kept or [label])
            assert similarities == pytest.approx(expected[image, kept] if kept else [0.5], abs=1e-5)


def test_nothing_is_forked_and_nothing_fetched(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: object) -> None:
        raise AssertionError(arguments)

    run = Run(tmp_path, BIRDS, [(2, "owl")])
    monkeypatch.setattr(os, "fork", refused)
    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)

    assert len(weights(run, model)) == 1


def test_a_pickle_beside_safetensors_is_left_alone(tmp_path: Path, model: Path, copy: Path) -> None:
    run = Run(tmp_path, BIRDS, [(2, "owl")])
    expected = weights(run, model)[0][1].tolist()
    (copy / "pytorch_model.bin").write_bytes(b"no pickle")

    assert weights(run, copy)[0][1].tolist() == expected


def test_a_model_of_pickles_is_refused(tmp_path: Path, copy: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()

    with pytest.raises(UserError, match=r"pytorch_model\.bin is a pickle.*save it again by"):
        weights(Run(tmp_path, BIRDS, [(2, "owl")]), copy)


def test_code_that_comes_with_a_model_is_not_run(tmp_path: Path, copy: Path) -> None:
    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    modules = json.loads((copy / "modules.json").read_text())
    modules[0]["type"] = "own.Own"
    (copy / "modules.json").write_text(json.dumps(modules))

    with pytest.raises(UserError, match="embedding_model=.*own.Own"):
        weights(Run(tmp_path, BIRDS, [(2, "owl")]), copy)
    assert not ran.exists()


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path, copy: Path) -> None:
    run = Run(tmp_path, BIRDS, [(2, "owl")])

    with pytest.raises(UserError, match=r"embedding_model=own/name: no such folder.*save\("):
        weights(run, "own/name")
    os.truncate(copy / "model.safetensors", 1_000)
    with pytest.raises(UserError, match="embedding_model=.*header"):
        weights(run, copy)
    (copy / "modules.json").unlink()
    with pytest.raises(UserError, match=r"embedding_model=.*has no modules\.json.*save\("):
        weights(run, copy)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"similarity": "embedding"}, "similarity=embedding needs a model: set embedding_model"),
        ({"embedding_model": "minilm"}, "embedding_model=minilm is not used by similarity=tf-idf"),
    ],
)
def test_the_two_parameters_go_together(
    tmp_path: Path, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Run(tmp_path, BIRDS, [(2, "owl")]).weights(**parameters)


def test_without_the_library_its_extra_and_image_are_named(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(UserError, match=r"pip install '\.\[embedding\]'.*WEBLY_IMAGE_WEIGHTING"):
        weights(Run(tmp_path, BIRDS, [(2, "owl")]), model)


def test_a_model_may_be_on_s3(tmp_path: Path, model: Path, bucket: str) -> None:
    for path in model.rglob("*"):
        if path.is_file():
            filesystem.put(path, f"{bucket}/model/{path.relative_to(model)}")
    run = Run(tmp_path, BIRDS, [(2, "owl")])

    found = weights(run, f"{bucket}/model")

    assert found[0][1].tolist() == weights(run, model)[0][1].tolist()


def test_tf_idf_imports_neither_torch_nor_the_library(tmp_path: Path) -> None:
    Run(tmp_path, BIRDS, [(2, "owl")])
    outputs = ("weights", "report.html")
    code = f"""
import sys
from collections.abc import Iterable
from pathlib import Path
from components.weighting.settings import SimilaritySettings
from components.weighting.stage import weighting
names = ("texts.parquet", "labels", *{outputs})
paths = [Path({str(tmp_path)!r}, name) for name in names]
weighting(*paths, comparing=SimilaritySettings())
print({{"torch", "transformers", "sentence_transformers"}} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert ended.stdout == "set()\n", ended.stderr
