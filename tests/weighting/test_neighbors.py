import random
from pathlib import Path

import pytest

from components.ingest.concepts import from_wordnet
from components.shared.stage.errors import UserError
from components.weighting.documents import Documents
from components.weighting.neighbors import Taxonomy, nearest
from tests.weighting.taxonomies import table

# animal ─┬─ bird ─┬─ sparrow, hawk, owl
#         └─ dog   └─ (bird is a class itself)
ANIMALS = table(
    5,
    [
        ("n1", "sparrow", "a small brown bird", ["n4"]),
        ("n3", "hawk", "hunts mice by day", ["n4"]),
        ("n2", "owl", "hunts mice by night", ["n4"]),
        ("n4", "bird", "has feathers", ["n6"]),
        ("n5", "dog", "barks", ["n6"]),
        ("n6", "animal", "", []),
    ],
)


def _names(concepts: object, wnids: list[str], count: int) -> list[list[str]]:
    documents = Documents.of(concepts)
    return [[wnids[i] for i in near] for near in nearest(concepts, documents.vectors, count)]


def test_similarity_is_wu_and_palmers() -> None:
    similarities = Taxonomy.of(ANIMALS).similarities(0)

    # 2·3/(2·3) itself, 2·2/(2·2 + 1 + 1) its siblings, 2·2/(2·2 + 1) above, 2·1/(2·1 + 2 + 1)
    assert similarities.tolist() == [1, 4 / 6, 4 / 6, 4 / 5, 2 / 5]


def test_of_several_paths_the_one_that_makes_concepts_most_similar_counts() -> None:
    # A dog is a canine (deep) and a pet (one edge below the root).
    concepts = table(
        2,
        [
            ("n1", "beagle", "", ["n3"]),
            ("n2", "poodle", "", ["n3"]),
            ("n3", "dog", "", ["n4", "n6"]),
            ("n4", "canine", "", ["n5"]),
            ("n5", "mammal", "", ["n7"]),
            ("n6", "pet", "", ["n7"]),
            ("n7", "animal", "", []),
        ],
    )

    assert Taxonomy.of(concepts).similarities(0)[1] == 2 * 4 / (2 * 4 + 1 + 1)


def test_siblings_are_ordered_by_their_documents_then_by_wnid() -> None:
    found = _names(ANIMALS, ["sparrow", "hawk", "owl", "bird", "dog"], 4)

    assert found[1] == ["bird", "owl", "sparrow", "dog"]  # both hunt mice by something
    assert found[3] == ["sparrow", "owl", "hawk", "dog"]  # n2 is before n3


def test_only_as_many_neighbours_as_asked_for() -> None:
    assert _names(ANIMALS, ["sparrow", "hawk", "owl", "bird", "dog"], 1)[1] == ["bird"]
    assert _names(ANIMALS, [], 0) == [[]] * 5


def test_concepts_without_a_common_hypernym_are_no_neighbours() -> None:
    concepts = table(2, [("rose", "rose", "", []), ("tulip", "tulip", "", [])])

    assert _names(concepts, ["rose", "tulip"], 5) == [[], []]


def test_a_concept_that_is_its_own_hypernym_is_refused() -> None:
    concepts = table(1, [("n1", "a", "", ["n2"]), ("n2", "b", "", ["n1"])])

    with pytest.raises(UserError, match="n1 → n2 → n1|n2 → n1 → n2"):
        Taxonomy.of(concepts)


def _wnids_below(name: str) -> list[str]:
    from nltk.corpus import wordnet

    below = wordnet.synset(name).closure(lambda synset: synset.hyponyms())
    return sorted({f"n{synset.offset():08d}" for synset in below})


def test_similarity_equals_nltks_where_concepts_have_one_path_to_the_root(
    nltk_data: Path,
) -> None:
    from nltk.corpus import wordnet

    below = [_wnids_below(f"{name}.n.01") for name in ("bird", "vehicle", "fruit", "dance")]
    wnids = random.Random(0).sample(sorted(set().union(*below)), 80)
    synsets = [wordnet.synset_from_pos_and_offset("n", int(wnid[1:])) for wnid in wnids]
    single = [i for i, synset in enumerate(synsets) if len(synset.hypernym_paths()) == 1]
    taxonomy = Taxonomy.of(from_wordnet(wnids))

    assert len(single) > 40
    for i in single:
        found = taxonomy.similarities(i)[single].tolist()
        assert found == [synsets[i].wup_similarity(synsets[j]) for j in single]


def test_a_beagle_is_nearer_to_a_bloodhound_than_to_a_wolf(nltk_data: Path) -> None:
    from nltk.corpus import wordnet

    beagle, bloodhound, wolf = (
        wordnet.synset(f"{name}.n.01") for name in ("beagle", "bloodhound", "wolf")
    )
    wnids = [f"n{synset.offset():08d}" for synset in (beagle, bloodhound, wolf)]

    _, to_bloodhound, to_wolf = Taxonomy.of(from_wordnet(wnids)).similarities(0)

    assert (to_bloodhound, to_wolf) == (2 * 16 / (2 * 16 + 2), 2 * 13 / (2 * 13 + 4 + 1))
    assert beagle.wup_similarity(bloodhound) < beagle.wup_similarity(wolf)  # why not NLTK's


def test_wilsons_warbler_gets_five_siblings_four_of_them_the_slides(nltk_data: Path) -> None:
    from nltk.corpus import wordnet

    wnids = _wnids_below("new_world_warbler.n.01")
    concepts = from_wordnet(wnids)
    names = [lemmas[0] for lemmas in concepts["lemmas"].to_pylist()]

    found = _names(concepts, names, 5)[wnids.index("n01567879")]

    assert found == ["Cape May warbler", "yellow warbler", "Blackburn", "blackpoll", "yellowthroat"]
    siblings = wordnet.synset("new_world_warbler.n.01").hyponyms()
    assert set(found) < {synset.lemma_names()[0].replace("_", " ") for synset in siblings}


@pytest.mark.slow
def test_neighbours_of_five_thousand_concepts_take_seconds(nltk_data: Path) -> None:
    import time

    wnids = random.Random(1).sample(_wnids_below("physical_entity.n.01"), 5_000)
    concepts = from_wordnet(wnids)
    vectors = Documents.of(concepts).vectors
    begin = time.process_time()

    found = nearest(concepts, vectors, 5)

    assert time.process_time() - begin < 20
    assert all(len(near) == 5 for near in found)
