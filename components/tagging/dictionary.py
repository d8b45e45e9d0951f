"""What WordNet says of words, read from the files of its database (man page wndb(5WN)).

NLTK's own reader looks things up in open files. Workers that are forked share the place in such a
file, and read one another's lines; besides, it takes seconds to load. All that tagging asks is held
here in memory, and loaded in half a second.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, Self

import nltk
from nltk.corpus.reader.wordnet import WordNetCorpusReader

PartOfSpeech = Literal["noun", "verb", "adj", "adv"]
_PARTS: dict[PartOfSpeech, str] = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


class _Synset(NamedTuple):
    names: list[str]
    hypernyms: list[int]


class Dictionary:
    """The words of WordNet; those of several words have _ between them.

    Attributes:
        nouns: All nouns in lower case, in WordNet's order.
    """

    def __init__(
        self,
        written: dict[PartOfSpeech, set[str]],
        exceptions: dict[PartOfSpeech, dict[str, list[str]]],
        synsets: dict[int, _Synset],
        uses: Counter[str],
    ) -> None:
        """Take what `load` has read."""
        self._written = frozenset().union(*written.values())
        self._names = {part: set(map(str.lower, names)) for part, names in written.items()}
        self._exceptions, self._synsets, self._uses = exceptions, synsets, uses
        self._meanings: dict[str, list[int]] = defaultdict(list)
        for number, synset in synsets.items():
            for name in synset.names:
                self._meanings[name.lower()].append(number)
        self.nouns = list(self._meanings)

    @classmethod
    def load(cls) -> Self:
        """Read WordNet from NLTK's data.

        Raises:
            LookupError: They do not hold it.
        """
        folder = nltk.data.find("corpora/wordnet/")

        def lines(name: str) -> Iterator[str]:
            with folder.join(name).open() as file:
                yield from file.read().decode().splitlines()

        written: dict[PartOfSpeech, set[str]] = {part: set() for part in _PARTS}
        synsets = {}
        for part in _PARTS:
            for number, synset in _synsets(lines(f"data.{part}")):
                written[part].update(synset.names)
                if part == "noun":
                    synsets[number] = synset
        exceptions = {
            part: {form: bases for form, *bases in map(str.split, lines(f"{part}.exc"))}
            for part in _PARTS
        }
        uses: Counter[str] = Counter()
        for key, _, count in map(str.split, lines("cntlist.rev")):
            name, _, sense = key.partition("%")
            if sense.startswith("1:"):  # a noun
                uses[name] += int(count)
        return cls(written, exceptions, synsets, uses)

    def base(self, form: str, part: PartOfSpeech) -> str | None:
        """Return the base form of a lower-case word, as NLTK's `morphy` does; None if unknown."""
        bases = self._exceptions[part].get(form)
        if bases is None:
            rules = WordNetCorpusReader.MORPHOLOGICAL_SUBSTITUTIONS[_PARTS[part]]
            bases = [form[: -len(old)] + new for old, new in rules if form.endswith(old)]
        return next((each for each in (form, *bases) if each in self._names[part]), None)

    def is_common(self, word: str) -> bool:
        """Return whether a lower-case word, in any form, is written with a small letter."""
        return not self._written.isdisjoint({word, *(self.base(word, part) for part in _PARTS)})

    def uses(self, noun: str) -> int:
        """Return how often WordNet's corpus has a lower-case noun, in any meaning."""
        return self._uses[noun]

    def is_kind(self, noun: str, other: str) -> bool:
        """Return whether what a lower-case noun may mean is a kind, or an instance, of another."""
        seen: set[int] = set()
        waiting = list(self._meanings.get(noun, ()))
        while waiting:
            above = set(self._synsets[waiting.pop()].hypernyms) - seen
            if any(other in self._synsets[number].names for number in above):
                return True
            seen |= above
            waiting += above
        return False


def _synsets(lines: Iterable[str]) -> Iterator[tuple[int, _Synset]]:
    """Yield the synsets of a database file by their offsets.

    A line is `offset file type w_cnt (word lex_id)… p_cnt (symbol offset pos source/target)… |
    gloss`; w_cnt is hexadecimal, and adjectives may have a marker such as `(p)` behind them. The
    file begins with a licence, which is indented.
    """
    for line in lines:
        if not line.startswith(" "):
            fields = line.partition(" | ")[0].split()
            end = 4 + 2 * int(fields[3], 16)
            names = [name.partition("(")[0] for name in fields[4:end:2]]
            pointers = fields[end + 1 : end + 1 + 4 * int(fields[end])]
            to = zip(pointers[::4], pointers[1::4], strict=True)
            hypernyms = [int(offset) for symbol, offset in to if symbol[0] == "@"]
            yield int(fields[0]), _Synset(names, hypernyms)
