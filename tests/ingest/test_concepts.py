from pathlib import Path

import pytest

from components.ingest import concepts
from components.shared.stage.errors import UserError


def test_plain_folder_names_become_lemmas_without_wordnet() -> None:
    table = concepts.of_classes(["golden_retriever", "sea-lion"], taxonomy=None)

    assert table.to_pylist() == [
        {"wnid": "golden_retriever", "lemmas": ["golden retriever"], "gloss": "", "hypernyms": [],
         "label": 0},
        {"wnid": "sea-lion", "lemmas": ["sea lion"], "gloss": "", "hypernyms": [], "label": 1},
    ]  # fmt: skip


def test_a_taxonomy_gives_classes_first_then_the_ancestors_they_reach(tmp_path: Path) -> None:
    taxonomy = tmp_path / "taxonomy.jsonl"
    taxonomy.write_text(
        '{"wnid": "root", "lemmas": ["thing"], "gloss": "all", "hypernyms": []}\n'
        '{"wnid": "b", "lemmas": ["bee"], "gloss": "", "hypernyms": ["middle"]}\n'
        '{"wnid": "unused", "lemmas": ["u"], "gloss": "", "hypernyms": ["root"]}\n'
        '{"wnid": "middle", "lemmas": ["m"], "gloss": "", "hypernyms": ["root"]}\n'
        '{"wnid": "a", "lemmas": ["ay"], "gloss": "", "hypernyms": ["root", "b"]}\n'
    )

    table = concepts.of_classes(["b", "a"], taxonomy)

    assert table["wnid"].to_pylist() == ["b", "a", "middle", "root"]
    assert table["label"].to_pylist() == [0, 1, None, None]
    assert table["hypernyms"].to_pylist()[1] == ["root", "b"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"wnid": "a", "lemmas": ["x"], "gloss": "", "hypernyms": ["b"]}', "b is missing"),
        ('{"wnid": "a", "lemmas": [], "gloss": "", "hypernyms": []}', "line 1: lemmas"),
        ('{"wnid": "a", "lemmas": []}', "line 1"),
        ("not JSON", "line 1"),
        ("[1]", "line 1"),
        ("[" * 100_000, "line 1"),
        ('{"wnid": "café", "lemmas": ["x"], "gloss": "", "hypernyms": []}', "line 1: .*codec"),
        (
            '{"wnid": 5, "lemmas": ["x"], "gloss": "", "hypernyms": []}',
            "line 1: wnid is no text: 5",
        ),
        ('{"wnid": "a", "lemmas": ["x", 5], "gloss": "", "hypernyms": []}', "line 1: lemmas is no"),
        ('{"wnid": "a", "lemmas": ["x"], "gloss": "", "hypernyms": 5}', "line 1: hypernyms is no"),
        (r'{"wnid": "a", "lemmas": ["\ud83d"], "gloss": "", "hypernyms": []}', "surrogates"),
    ],
)
def test_a_broken_taxonomy_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    taxonomy = tmp_path / "taxonomy.jsonl"
    taxonomy.write_bytes(lines.encode("latin-1"))

    with pytest.raises(UserError, match=message):
        concepts.of_classes(["a"], taxonomy)


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="cat: two classes"):
        concepts.of_classes(["cat", "dog", "cat"], None)


@pytest.mark.usefixtures("nltk_data")
def test_wordnet_gives_the_hypernyms_up_to_the_root() -> None:
    table = concepts.from_wordnet(["n02432511", "n01567879"])

    rows = {row["wnid"]: row for row in table.to_pylist()}
    deer = rows["n02432511"]
    assert deer["lemmas"] == ["mule deer", "burro deer", "Odocoileus hemionus"]
    assert deer["gloss"] == "long-eared deer of western North America with two-pronged antlers"
    assert rows["n01567879"]["label"] == 1
    reached = {parent for row in rows.values() for parent in row["hypernyms"]}
    assert reached <= rows.keys()
    assert rows["n00001740"]["lemmas"] == ["entity"]


@pytest.mark.usefixtures("nltk_data")
@pytest.mark.filterwarnings("ignore:No WordNet synset")
def test_a_wnid_that_wordnet_lacks_is_refused() -> None:
    with pytest.raises(UserError, match="n00000001: WordNet 3.0 has no"):
        concepts.from_wordnet(["n00000001"])
