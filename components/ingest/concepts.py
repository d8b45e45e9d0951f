"""What the classes mean: names, gloss and hypernyms, from WordNet or the data set's own taxonomy.

The table's first rows are the classes in label order, so that row = label; all their ancestors
follow, sorted by wnid. So the graph of hypernyms is closed, and no later stage needs WordNet.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

from components.shared.data.targets import CONCEPTS_SCHEMA
from components.shared.stage.errors import UserError


@dataclass(frozen=True, slots=True)
class Concept:
    """A row of the table; lemmas have blanks between words."""

    wnid: str
    lemmas: list[str]
    gloss: str
    hypernyms: list[str]


def of_classes(names: Sequence[str], taxonomy: Path | None) -> pa.Table:
    """Return the concepts of a data set's classes and of their ancestors.

    Args:
        names: The classes' names in label order: wnids, or any other texts.
        taxonomy: The data set's own `taxonomy.jsonl`, if it has one: WordNet is not asked then.
    """
    if taxonomy is not None:
        return from_taxonomy(names, taxonomy)
    if not any(map(_is_wnid, names)):
        return _closed(names, _plain)
    return from_wordnet(names)


def from_wordnet(wnids: Sequence[str]) -> pa.Table:
    """Return classes and ancestors from WordNet 3.0; names that are no wnids stand for themselves.

    Raises:
        UserError: NLTK does not find WordNet 3.0, or WordNet does not have a wnid.
    """
    from components.shared.data.bare_nltk import nltk

    wordnet = nltk.corpus.wordnet
    try:
        version = wordnet.get_version()
    except LookupError:
        raise UserError(
            "the classes are WordNet's, but NLTK does not find WordNet: run `python -m "
            "nltk.downloader wordnet`, or set NLTK_DATA to a folder that has it"
        ) from None
    if version != "3.0":
        raise UserError(f"NLTK's WordNet is version {version}, but wnids are those of 3.0")

    def concept(wnid: str) -> Concept:
        if not _is_wnid(wnid):
            return _plain(wnid)
        synset = wordnet.synset_from_pos_and_offset(wnid[0], int(wnid[1:]))
        if synset is None:
            raise UserError(f"{wnid}: WordNet 3.0 has no such synset")
        parents = synset.hypernyms() + synset.instance_hypernyms()
        return Concept(
            wnid,
            [lemma.replace("_", " ") for lemma in synset.lemma_names()],
            synset.definition(),
            # NLTK has them in a set, whose order changes from process to process.
            sorted(f"{parent.pos()}{parent.offset():08d}" for parent in parents),
        )

    return _closed(wnids, concept)


def from_taxonomy(names: Sequence[str], path: Path) -> pa.Table:
    """Return classes and ancestors from JSON lines of `wnid`, `lemmas`, `gloss`, `hypernyms`.

    Raises:
        UserError: A line is not such an object, or a class or hypernym is missing.
    """
    concepts: dict[str, Concept] = {}
    for number, line in enumerate(path.read_bytes().rstrip().split(b"\n"), start=1):
        try:
            concept = Concept(**json.loads(line.decode("utf-8-sig")))
            _check(concept)
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path.name}, line {number}: {error!s:.200}") from None
        concepts[concept.wnid] = concept

    def concept_of(wnid: str) -> Concept:
        if wnid not in concepts:
            raise UserError(f"{path.name}: {wnid} is missing; add a line for it")
        return concepts[wnid]

    return _closed(names, concept_of)


def _check(concept: Concept) -> None:
    """Refuse a concept whose fields have values of other types than they should."""
    for name in ("lemmas", "hypernyms"):
        texts = getattr(concept, name)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{name} is no list of names: {texts!r:.80}")
    for name in ("wnid", "gloss"):
        if not isinstance(getattr(concept, name), str):
            raise UserError(f"{name} is no text: {getattr(concept, name)!r:.80}")
    if not concept.lemmas:
        raise UserError("lemmas is no list of one or more names")
    for text in (concept.wnid, concept.gloss, *concept.lemmas, *concept.hypernyms):
        text.encode()  # raises where there is half of a surrogate pair


def _is_wnid(name: str) -> bool:
    return re.fullmatch(r"n\d{8}", name) is not None


def _plain(name: str) -> Concept:
    return Concept(name, [name.replace("_", " ").replace("-", " ")], "", [])


def _closed(names: Sequence[str], concept: Callable[[str], Concept]) -> pa.Table:
    """Return the table of the classes and of all that can be reached from them."""
    found = {name: concept(name) for name in names}
    if len(found) < len(names):
        repeated = next(name for i, name in enumerate(names) if name in names[:i])
        raise UserError(f"{repeated}: two classes have this name")
    frontier = set(found)
    while frontier:
        parents = {parent for name in frontier for parent in found[name].hypernyms}
        frontier = parents - found.keys()
        found |= {name: concept(name) for name in frontier}
    ancestors = sorted(found.keys() - set(names))
    rows = [
        asdict(found[name]) | {"label": label if label < len(names) else None}
        for label, name in enumerate([*names, *ancestors])
    ]
    return pa.Table.from_pylist(rows, schema=CONCEPTS_SCHEMA)
