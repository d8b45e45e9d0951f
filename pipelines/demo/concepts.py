"""What there is to draw: 20 concepts in six families, and the attributes that vary within them.

A concept is a form and a pattern that is *typical* of it; siblings share the family's build and
differ in details, and the same patterns recur in all families. So a net that has learned "striped"
or "spotted" from the texts of all families has learned something about each concept.

A fine-grained set has kinds of these concepts for classes, up to six of each, and the concepts are
their families: kinds share a form, and differ in the pattern and the colour that are typical.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

PATTERNS = ("plain", "striped", "spotted", "checkered", "zigzag", "ringed")
SCENES = ("meadow", "sea", "night", "desert", "snow", "sunset", "forest", "studio")
WEATHERS = ("clear", "rain", "fog")
SIZES = ("small", "medium", "large")

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (207, 66, 62),
    "orange": (233, 136, 54),
    "yellow": (243, 203, 84),
    "green": (82, 152, 96),
    "blue": (64, 114, 184),
    "purple": (129, 88, 160),
    "pink": (234, 142, 172),
    "white": (244, 240, 230),
    "black": (48, 50, 60),
    "brown": (142, 98, 66),
}


@dataclass(frozen=True, slots=True)
class Concept:
    """A class of the data set.

    Attributes:
        label: Its number in label order.
        wnid: Like WordNet's, but of no synset there.
        lemmas: What people call it; the first is its title.
        family: The parent's lemma.
        named: Share of the mentions of it that name it; the others name its family.
        figure: The number of the one of `CONCEPTS` that it looks like.
        form: Adjectives for its outline.
        pattern: The pattern that most of its kind have.
        color: The colour that most of its kind have, or None if they have any.
        scenes: Where it is most often seen.
        gloss: Its definition.
    """

    label: int
    wnid: str
    lemmas: tuple[str, ...]
    family: str
    named: float
    figure: int
    form: tuple[str, ...]
    pattern: str
    color: str | None
    scenes: tuple[str, ...]
    gloss: str


@dataclass(frozen=True, slots=True)
class Depiction:
    """What one image shows.

    Attributes:
        concept: A class, or None for clutter.
        pattern: One of `PATTERNS`.
        color: The body's colour, one of `COLORS`.
        accent: The pattern's colour.
        scene: One of `SCENES`.
        weather: One of `WEATHERS`.
        size: One of `SIZES`.
    """

    concept: Concept | None
    pattern: str
    color: str
    accent: str
    scene: str
    weather: str
    size: str


_FAMILIES: dict[str, tuple[str, tuple[str, ...], str]] = {
    # family: parent, usual scenes, gloss
    "kite": ("aircraft", ("meadow", "sunset", "sea"), "light frame flown in the wind on a string"),
    "balloon": ("aircraft", ("sunset", "desert", "meadow"), "bag of hot air with a basket below"),
    "fish": ("animal", ("sea", "night", "studio"), "animal with fins that lives in water"),
    "beetle": (
        "animal",
        ("forest", "desert", "studio"),
        "insect with hard wing cases and six legs",
    ),
    "flower": ("growth", ("meadow", "forest", "studio"), "blossom on a green stem"),
    "mushroom": ("growth", ("forest", "snow", "night"), "fungus with a cap on a pale stem"),
}
_ANCESTORS: dict[str, tuple[str | None, str]] = {
    "thing": (None, "whatever can be seen"),
    "craft": ("thing", "thing made by people to travel or to play"),
    "organism": ("thing", "living thing"),
    "aircraft": ("craft", "craft that flies"),
    "animal": ("organism", "organism that moves about"),
    "growth": ("organism", "organism that grows from the ground"),
}
_CONCEPTS: Sequence[tuple[tuple[str, ...], str, tuple[str, ...], str, str]] = (
    # lemmas, family, form, pattern, what its gloss adds
    (("diamond kite", "lozenge"), "kite", ("diamond", "angular"), "checkered", "tail of bows"),
    (("delta kite", "swallowwing"), "kite", ("triangular", "wide"), "striped", "pair of ribbons"),
    (("ray kite", "mantakite"), "kite", ("hexagonal", "short"), "spotted", "single long tail"),
    (("ribbon fish", "tapefin"), "fish", ("slender", "long"), "striped", "narrow fan tail"),
    (("moon fish", "discfin"), "fish", ("round", "tall"), "spotted", "small fan tail"),
    (("arrow fish", "dartfin"), "fish", ("pointed", "forked"), "zigzag", "forked tail"),
    (("sail fish", "bannerfin"), "fish", ("finned", "high"), "plain", "tall fin on its back"),
    (("button beetle", "dotback"), "beetle", ("round", "stout"), "spotted", "short feelers"),
    (("tiger beetle", "barback"), "beetle", ("slender", "long"), "striped", "long straight legs"),
    (("stag beetle", "antlerback"), "beetle", ("horned", "stout"), "plain", "pair of horns"),
    (("harlequin beetle", "checkback"), "beetle", ("oval", "broad"), "checkered", "long feelers"),
    (("star flower", "fivepetal"), "flower", ("pointed", "open"), "plain", "five pointed petals"),
    (("wheel flower", "spokebloom"), "flower", ("round", "open"), "ringed", "many narrow petals"),
    (("cup flower", "gobletbloom"), "flower", ("closed", "upright"), "striped", "cup of petals"),
    (("dome mushroom", "bowlcap"), "mushroom", ("domed", "stout"), "spotted", "round cap"),
    (("cone mushroom", "peakcap"), "mushroom", ("conical", "pointed"), "ringed", "steep cap"),
    (("parasol mushroom", "shadecap"), "mushroom", ("flat", "wide"), "zigzag", "broad thin cap"),
    (("globe balloon", "roundbag"), "balloon", ("round", "full"), "striped", "round bag"),
    (("pear balloon", "dropbag"), "balloon", ("tapered", "tall"), "zigzag", "bag like a pear"),
    (("barrel balloon", "drumbag"), "balloon", ("square", "broad"), "checkered", "bag like a drum"),
)
# As birds are named: they say where a kind is found, and nothing of how it looks.
_EPITHETS = ("marsh", "willow", "garden", "river", "canyon", "orchard")

CONCEPTS: Sequence[Concept] = tuple(
    Concept(
        label=number,
        wnid=f"n9{1_000_000 + number:07}",
        lemmas=lemmas,
        family=family,
        named=0.35,
        figure=number,
        form=form,
        pattern=pattern,
        color=None,
        scenes=_FAMILIES[family][1],
        gloss=f"{' '.join(form)} {family}, most often {pattern}, with a {detail}",
    )
    for number, (lemmas, family, form, pattern, detail) in enumerate(_CONCEPTS)
)


def classes(kinds: int) -> Sequence[Concept]:
    """Return the data set's classes: so many kinds of each concept, for 1 the concepts."""
    if kinds == 1:
        return CONCEPTS
    return [
        _kind(concept, number, concept.label * kinds + number)
        for concept in CONCEPTS
        for number in range(kinds)
    ]


def _kind(concept: Concept, number: int, label: int) -> Concept:
    """Return a kind of a concept, whose pattern and colour are no sibling's."""
    pattern = PATTERNS[(PATTERNS.index(concept.pattern) + number) % len(PATTERNS)]
    epithet, (name, coined) = _EPITHETS[number], concept.lemmas
    color = list(COLORS)[(concept.label + 3 * number) % len(COLORS)]
    return replace(
        concept,
        label=label,
        wnid=f"n9{3_000_000 + label:07}",
        lemmas=(f"{epithet} {coined}", f"{epithet}{name.split()[0]}"),
        family=coined,
        named=0.6,
        pattern=pattern,
        color=color,
        gloss=f"{concept.family}, most often {color} and {pattern}",
    )


def taxonomy(kinds: int) -> list[dict[str, object]]:
    """Return the records of `info/taxonomy.jsonl`: the classes and all their ancestors."""
    above = _ANCESTORS | {name: (parent, gloss) for name, (parent, _, gloss) in _FAMILIES.items()}
    wnids = {name: f"n9{2_000_000 + number:07}" for number, name in enumerate(above)}
    listed = [*classes(kinds)]
    if kinds > 1:
        wnids |= {concept.lemmas[1]: concept.wnid for concept in CONCEPTS}
        listed += [replace(c, gloss=f"{' '.join(c.form)} {c.family}") for c in CONCEPTS]
    records = [
        (concept.wnid, list(concept.lemmas), concept.gloss, [wnids[concept.family]])
        for concept in listed
    ] + [
        (wnids[name], [name], gloss, [wnids[parent]] if parent else [])
        for name, (parent, gloss) in above.items()
    ]
    return [dict(zip(("wnid", "lemmas", "gloss", "hypernyms"), r, strict=True)) for r in records]
