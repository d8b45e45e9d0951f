"""What the web would say around an image: sentences with their parts of speech, and noise.

Sentences are made as words with Penn Treebank tags, so that they also train the demo's tagger.
"""

from collections.abc import Sequence

from numpy.random import Generator

from pipelines.demo.concepts import Depiction

TaggedSentence = list[tuple[str, str]]

# The words for what can be seen, the usual one first: a choice falls with p ∝ 1 / rank.
_COLOR_WORDS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden", "lemon"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure", "cobalt"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "white": ("white", "ivory", "creamy"),
    "black": ("black", "dark"),
    "brown": ("brown", "chestnut"),
}
_PATTERN_WORDS = {  # as adjective, as noun
    "plain": (("plain", "uniform"), ()),
    "striped": (("striped", "banded", "barred"), ("stripes", "bands")),
    "spotted": (("spotted", "dotted", "speckled"), ("spots", "dots")),
    "checkered": (("checkered", "chequered", "tiled"), ("checks", "squares")),
    "zigzag": (("jagged", "zigzag"), ("zigzags", "chevrons")),
    "ringed": (("ringed", "concentric"), ("rings", "circles")),
}
_SCENE_WORDS = {
    "meadow": ("meadow", "field", "pasture"),
    "sea": ("sea", "ocean", "coast"),
    "night": ("night", "moon", "midnight"),
    "desert": ("desert", "dune", "sand"),
    "snow": ("snow", "winter", "ice"),
    "sunset": ("sunset", "dusk", "evening"),
    "forest": ("forest", "wood", "trees"),
    "studio": ("studio", "table", "wall"),
}
_SIZE_WORDS = {
    "small": ("small", "tiny", "little"),
    "medium": (),
    "large": ("large", "huge", "big"),
}
_WEATHER_WORDS = {"clear": (), "rain": ("rain", "drizzle", "storm"), "fog": ("fog", "mist", "haze")}
_PLACES = (
    "Lisbon", "Oslo", "Kyoto", "Bergen", "Quito", "Cork", "Tartu", "Perth", "Malmo", "Izmir",
    "Nantes", "Porto", "Davos", "Galway", "Tromso", "Bari", "Turku", "Leiden", "Ghent", "Split",
)  # fmt: skip

# `word/TAG` for each word; in braces what `_fill` puts there.
_SENTENCES = (
    "A/DT {thing} near/IN the/DT {scene} ./.",
    "This/DT {thing} rested/VBD by/IN the/DT {scene} in/IN {place} ./.",
    "We/PRP saw/VBD a/DT {thing} and/CC took/VBD a/DT photo/NN ./.",
    "{thing} with/IN {accent} {marks} ,/, {place} ./.",
    "The/DT {scene} was/VBD quiet/JJ and/CC the/DT {thing} looked/VBD lovely/JJ ./.",
    "My/PRP$ favourite/JJ {thing} from/IN our/PRP$ trip/NN to/TO {place} ./.",
    "Two/CD days/NNS at/IN the/DT {scene} with/IN a/DT {thing} ./.",
    "It/PRP shows/VBZ a/DT {thing} in/IN the/DT {weather} ./.",
    "You/PRP can/MD see/VB {marks} on/IN the/DT {thing} here/RB ./.",
    "{thing} at/IN {place} ,/, {weather} ./.",
)
_OFF_TOPIC = (
    "We/PRP had/VBD a/DT great/JJ day/NN with/IN the/DT family/NN ./.",
    "Our/PRP$ wedding/NN party/NN in/IN {place} was/VBD wonderful/JJ ./.",
    "Dinner/NN with/IN old/JJ friends/NNS at/IN the/DT harbour/NN ./.",
    "The/DT new/JJ museum/NN opens/VBZ in/IN {place} next/JJ week/NN ./.",
    "Cheap/JJ flights/NNS and/CC hotels/NNS for/IN {place} ./.",
)
_PAGE_TEXTS = (  # of any page: they do not depend on the image
    "All/DT rights/NNS reserved/VBN ./.",
    "Please/UH comment/VB if/IN you/PRP like/VBP it/PRP !/.",
    "Taken/VBN with/IN a/DT Nikon/NNP D90/NNP and/CC a/DT 50mm/JJ lens/NN ./.",
    "See/VB more/JJR at/IN our/PRP$ gallery/NN ./.",
    "Click/VB here/RB to/TO see/VB more/JJR pictures/NNS ./.",
    "Uploaded/VBN by/IN a/DT member/NN ./.",
    "Photo/NN of/IN the/DT day/NN",
)
_WRAPPINGS = (  # what is left of a page around its texts
    "{}",
    "{}",
    "&copy; 2011 {}",
    "{} &gt;&gt;",
    "<p>{}</p>",
    '{} <a href="http://example.com/gallery">gallery</a>',
    "{} http://www.example.com/photos?id=1234",
)
_EMPTY_TITLES = ("IMG_{:04}", "DSC{:05}.JPG", "Photo of the day", "Untitled", "P{:07}", "")


def _pick(words: Sequence[str], rng: Generator) -> str:
    odds = [1 / (rank + 1) for rank in range(len(words))]
    return words[int(rng.choice(len(words), p=[odd / sum(odds) for odd in odds]))]


def _adjectives(depiction: Depiction, rng: Generator) -> TaggedSentence:
    form = () if depiction.concept is None else depiction.concept.form
    candidates = (
        (0.35, _SIZE_WORDS[depiction.size]),
        (0.6, _COLOR_WORDS[depiction.color]),
        (0.6, _PATTERN_WORDS[depiction.pattern][0]),
        (0.4, form),
    )
    return [(_pick(words, rng), "JJ") for p, words in candidates if words and rng.random() < p]


def _thing(depiction: Depiction, rng: Generator) -> TaggedSentence:
    """Return a noun phrase: some adjectives, then the concept's name or only its family's."""
    if depiction.concept is None:
        return [(_pick(("decoration", "collage", "poster", "toy"), rng), "NN")]
    name = depiction.concept.family
    if rng.random() < depiction.concept.named:
        name = _pick(depiction.concept.lemmas, rng)
    return _adjectives(depiction, rng) + [(word, "NN") for word in name.split()]


def _fill(pattern: str, depiction: Depiction, rng: Generator) -> TaggedSentence:
    sentence: TaggedSentence = []
    for piece in pattern.split():
        match piece:
            case "{thing}":
                sentence += _thing(depiction, rng)
            case "{scene}":
                word = _pick(_SCENE_WORDS[depiction.scene], rng)
                sentence.append((word, "NNS" if word == "trees" else "NN"))
            case "{weather}":
                words = _WEATHER_WORDS[depiction.weather] or _SCENE_WORDS[depiction.scene]
                sentence.append((_pick(words, rng), "NN"))
            case "{accent}":
                sentence.append((_pick(_COLOR_WORDS[depiction.accent], rng), "JJ"))
            case "{marks}":
                words = _PATTERN_WORDS[depiction.pattern][1] or ("edges",)
                sentence.append((_pick(words, rng), "NNS"))
            case "{place}":
                sentence.append((_PLACES[rng.integers(len(_PLACES))], "NNP"))
            case _:
                word, _, tag = piece.rpartition("/")
                sentence.append((word, tag))
    first, tag = sentence[0]
    return [(first.capitalize(), tag), *sentence[1:]]


def sentence(depiction: Depiction, rng: Generator) -> TaggedSentence:
    """Return a sentence on what an image shows."""
    return _fill(_SENTENCES[rng.integers(len(_SENTENCES))], depiction, rng)


def off_topic(depiction: Depiction, rng: Generator) -> TaggedSentence:
    """Return a sentence that says nothing of it."""
    return _fill(_OFF_TOPIC[rng.integers(len(_OFF_TOPIC))], depiction, rng)


def page_text(depiction: Depiction, rng: Generator) -> TaggedSentence:
    """Return a sentence that many pages hold."""
    return _fill(_PAGE_TEXTS[rng.integers(len(_PAGE_TEXTS))], depiction, rng)


def caption(depiction: Depiction, rng: Generator) -> TaggedSentence:
    """Return a title: a noun phrase."""
    return _fill("{thing}", depiction, rng)


def plain(sentence: TaggedSentence) -> str:
    """Return a sentence as it is written."""
    text = " ".join(word for word, _ in sentence)
    return text.replace(" .", ".").replace(" ,", ",").replace(" !", "!")


def record(
    depiction: Depiction, query: str, *, off_topic_share: float, rng: Generator
) -> dict[str, str]:
    """Return title, description and tags of an image; some keys may be absent.

    A share of the texts say nothing of what the image shows, except for tags that name its scene; a
    quarter hold the query that found it, as pages do that want to be found.
    """
    telling = rng.random() < 1 - off_topic_share and depiction.concept is not None
    number = int(rng.integers(1_000, 100_000))
    fields: dict[str, str] = {}
    title = _EMPTY_TITLES[rng.integers(len(_EMPTY_TITLES))].format(number)
    if telling and rng.random() < 0.7:
        title = plain(caption(depiction, rng))
    parts = [plain(off_topic(depiction, rng))] if rng.random() < 0.25 else []
    if telling:
        parts += [plain(sentence(depiction, rng)) for _ in range(rng.integers(1, 3))]
    if rng.random() < 0.4:
        wrapping = _WRAPPINGS[rng.integers(len(_WRAPPINGS))]
        parts.append(wrapping.format(plain(page_text(depiction, rng))))
    rng.shuffle(parts)
    tags = [_pick(_SCENE_WORDS[depiction.scene], rng)] if rng.random() < 0.6 else []
    if telling and rng.random() < 0.6:
        tags += [word for word, _ in _thing(depiction, rng)]
    if rng.random() < 0.25:
        tags.append(query)
    if rng.random() < 0.95:
        fields["title"] = title
    if rng.random() < 0.85:
        fields["description"] = " ".join(parts)
    fields["tags"] = " ".join(tags)
    return fields
