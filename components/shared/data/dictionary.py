"""What WordNet says of words, read from the files of its database (man page wndb(5WN)).

NLTK's own reader looks words up in open files. Forked workers share a file's offset, and would read
one another's lines; besides, it takes seconds to load. Everything stages need is held in memory.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, Self

from components.shared.data.bare_nltk import nltk
from components.shared.storage import formats

PartOfSpeech = Literal["noun", "verb", "adj", "adv"]
_PARTS: dict[PartOfSpeech, str] = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
_FILES = [f"{kind}{part}{end}" for part in _PARTS for kind, end in [("data.", ""), ("", ".exc")]]
_RULES = nltk.corpus.reader.wordnet.WordNetCorpusReader.MORPHOLOGICAL_SUBSTITUTIONS


class _Synset(NamedTuple):
    names: list[str]
    hypernyms: list[int]


class Dictionary:
    """The words of WordNet; those of several words have _ between them.

    Attributes:
        nouns: All nouns in lower case; of synonyms, the usual one comes first.
        digest: Of WordNet's files.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        """Take WordNet's files by name."""
        self.digest = hashlib.sha256(b"".join(files.values())).hexdigest()

        def lines(name: str) -> list[str]:
            return files[name].decode().splitlines()

        written: dict[PartOfSpeech, set[str]] = {part: set() for part in _PARTS}
        self._nouns: dict[int, _Synset] = {}
        for part in _PARTS:
            for number, synset in _synsets(lines(f"data.{part}")):
                written[part].update(synset.names)
                if part == "noun":
                    self._nouns[number] = synset
        self._written = frozenset().union(*written.values())
        self._names = {part: set(map(str.lower, names)) for part, names in written.items()}
        self._exceptions = {
            part: {form: bases for form, *bases in map(str.split, lines(f"{part}.exc"))}
            for part in _PARTS
        }
        self._meanings = dict(map(_meanings, _entries(lines("index.noun"))))
        names = (name.lower() for synset in self._nouns.values() for name in synset.names)
        self.nouns = list(dict.fromkeys(names))
        self._uses: Counter[str] = Counter()
        for key, _, count in map(str.split, lines("cntlist.rev")):
            name, _, sense = key.partition("%")
            if sense.startswith("1:"):  # a noun
                self._uses[name] += int(count)

    @classmethod
    def load(cls) -> Self:
        """Read WordNet from NLTK's data.

        Raises:
            LookupError: They do not hold it.
            UserError: It is damaged.
        """
        folder = nltk.data.find("corpora/wordnet/")
        with formats.guarded(folder, "run `python -m nltk.downloader --force wordnet`"):
            files = {}
            for name in (*_FILES, "index.noun", "cntlist.rev"):
                with folder.join(name).open() as file:
                    files[name] = file.read()
            return cls(files)

    def base(self, form: str, part: PartOfSpeech) -> str | None:
        """Return the base form of a lower-case word, as NLTK's `morphy` does; None if unknown."""
        bases = self._exceptions[part].get(form)
        if bases is None:
            rules = _RULES[_PARTS[part]]
            bases = [form[: -len(old)] + new for old, new in rules if form.endswith(old)]
        return next((each for each in (form, *bases) if each in self._names[part]), None)

    def is_common(self, word: str) -> bool:
        """Return whether a lower-case word, in any form, is written with a small letter."""
        return not self._written.isdisjoint({word, *(self.base(word, part) for part in _PARTS)})

    def is_only_noun(self, word: str) -> bool:
        """Return whether a lower-case word is a noun in some form, and nothing else in any."""
        return [part for part in _PARTS if self.base(word, part)] == ["noun"]

    def uses(self, noun: str) -> int:
        """Return how often WordNet's corpus has a lower-case noun, in any meaning."""
        return self._uses[noun]

    def irregular(self) -> Mapping[str, Sequence[str]]:
        """Return the base forms of nouns that no rule leads to, such as `geese`."""
        return self._exceptions["noun"]

    def meanings(self, noun: str) -> Sequence[int]:
        """Return the synsets of a lower-case noun by their offsets, the most frequent first."""
        return self._meanings.get(noun, ())

    def kinds(self, synsets: Sequence[int]) -> dict[int, int]:
        """Return the nearest of some synsets at or above each; of equally near ones the first.

        Args:
            synsets: Their offsets, of which those that are no nouns of WordNet are left out.

        Returns:
            Offsets by the offsets of what is below them, and by their own.
        """
        below: dict[int, list[int]] = {}
        for number, synset in self._nouns.items():
            for above in synset.hypernyms:
                below.setdefault(above, []).append(number)
        found: dict[int, int] = {}
        level = {each: each for each in synsets if each in self._nouns}
        while level:
            found |= level
            following: dict[int, int] = {}
            for number, nearest in level.items():
                for each in below.get(number, ()):
                    if each not in found:
                        following.setdefault(each, nearest)
            level = following
        return found

    def is_kind(self, noun: str, other: str) -> bool:
        """Return whether what a lower-case noun may mean is a kind, or an instance, of another."""
        return any(self._is_kind(meaning, other) for meaning in self._meanings.get(noun, ()))

    def is_figure(self, name: str) -> bool:
        """Return whether a name of several words, in lower case, is a figure of speech.

        Such as fat cat, lame duck, snake in the grass: they are persons, which cats, ducks and
        grass are not in the first place.
        """
        meanings = self._meanings[name]
        last = self._meanings.get(name.rpartition("_")[2])
        return (
            name in self._written  # not a person's own name
            and last is not None
            and all(self._is_kind(meaning, "person") for meaning in meanings)
            and not self._is_kind(last[0], "person")
        )

    def _is_kind(self, meaning: int, other: str) -> bool:
        seen = {meaning}
        waiting = [meaning]
        while waiting:
            above = set(self._nouns[waiting.pop()].hypernyms) - seen
            if any(other in self._nouns[number].names for number in above):
                return True
            seen |= above
            waiting += above
        return False


def _entries(lines: list[str]) -> Iterator[str]:
    """Yield what is not the licence at a file's beginning, which is indented."""
    return (line for line in lines if not line.startswith(" "))


def _synsets(lines: list[str]) -> Iterator[tuple[int, _Synset]]:
    """Yield the synsets of a database file by their offsets.

    An entry is `offset file type w_cnt (word lex_id)… p_cnt (symbol offset pos source/target)… |
    gloss`; w_cnt is hexadecimal, and adjectives may have a marker such as `(p)` behind them.
    """
    for line in _entries(lines):
        fields = line.partition(" | ")[0].split()
        end = 4 + 2 * int(fields[3], 16)
        names = [name.partition("(")[0] for name in fields[4:end:2]]
        pointers = fields[end + 1 : end + 1 + 4 * int(fields[end])]
        to = zip(pointers[::4], pointers[1::4], strict=True)
        hypernyms = [int(offset) for symbol, offset in to if symbol[0] == "@"]
        yield int(fields[0]), _Synset(names, hypernyms)


def _meanings(line: str) -> tuple[str, list[int]]:
    """Return a noun of the index and the offsets of its synsets, the usual meaning first.

    An entry is `lemma pos synset_cnt p_cnt symbol… sense_cnt tagsense_cnt synset_offset…`.
    """
    fields = line.split()
    return fields[0], [int(offset) for offset in fields[-int(fields[2]) :]]
