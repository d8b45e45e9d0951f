"""Part-of-speech taggers: NLTK's perceptrons, with weights from a resource or a folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

from components.shared.data.bare_nltk import nltk
from components.shared.stage.errors import UserError
from components.shared.storage import filesystem, formats
from components.tagging.perceptron import Perceptron

# By the tags of the Penn Treebank (English), of Universal Dependencies, of STTS (German) and of the
# Russian National Corpus: nouns and names; those of them that are plurals; adjectives.
NOUNS = frozenset({"NN", "NNS", "NNP", "NNPS", "NOUN", "PROPN", "NE", "S"})
PLURALS = frozenset({"NNS", "NNPS"})
ADJECTIVES = frozenset(
    {"JJ", "JJR", "JJS", "ADJ", "ADJA", "ADJD", "A", "A=m", "A=f", "A=n", "A=pl"}
)


def load(tagger: str) -> Perceptron:
    """Load a tagger from NLTK's data, or from a folder (local or s3://) of its three JSON files.

    They are what NLTK's `PerceptronTagger.save_to_json` writes: `<name>.weights.json`,
    `<name>.tagdict.json`, `<name>.classes.json`, with any name.

    Raises:
        UserError: There is no such resource or folder, or none of its tags is known for nouns.
    """
    if filesystem.is_s3(tagger) or Path(tagger).is_dir():
        with filesystem.local_folder(tagger) as folder:
            weights = sorted(folder.glob("*.weights.json"))
            if len(weights) != 1:
                raise UserError(f"tagger={tagger}: holds {len(weights)} *.weights.json, not one")
            name = weights[0].name.removesuffix(".weights.json")
            return _read(lambda part: (folder / f"{name}.{part}.json").open("rb"), tagger)
    try:
        pointer = nltk.data.find(f"taggers/{tagger}/")
    except (LookupError, ValueError):  # or a name that NLTK takes for an address
        raise UserError(
            f"tagger={tagger}: no such folder, and NLTK's data do not hold it; get it by "
            f"`python -m nltk.downloader {tagger}`, or set NLTK_DATA to the folder that has it"
        ) from None
    return _read(lambda part: pointer.join(f"{tagger}.{part}.json").open(), tagger)


def _read(open_part: Callable[[str], IO[bytes]], tagger: str) -> Perceptron:
    parts = []
    for part in ("weights", "tagdict", "classes"):
        named = f"tagger={tagger}: its {part}"
        with formats.guarded(named, "save it again"), open_part(part) as file:
            parts.append(json.load(file))
    if list(map(type, parts)) != [dict, dict, list]:
        raise UserError(f"tagger={tagger}: its files are not a perceptron's, as NLTK saves it")
    classes: list[str] = parts[2]
    if not NOUNS & set(classes):
        raise UserError(
            f"tagger={tagger}: none of its tags ({', '.join(sorted(classes)[:8])}, …) is one for "
            f"nouns that is known here ({', '.join(sorted(NOUNS))}): rename them in its files"
        )
    return Perceptron(*parts)
