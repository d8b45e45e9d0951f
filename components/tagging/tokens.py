"""Tokens, in the manner of the Penn Treebank that NLTK's tagger learned from.

A text is split at its blanks first. What stands between two of them is a *chunk*, mostly a word and
its punctuation; its tokens depend on nothing else, so that they are found once for each distinct
chunk.
"""

import re
import unicodedata

# What ends a sentence.
ENDS = (".", "!", "?")

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("–—―−|•·¦→", "\n"),
        **dict.fromkeys("™®℠", " "),  # NFKC would turn them into letters
        "©": " copyright ",
        # Other scripts' marks between sentences and within.
        **dict.fromkeys("।॥။۔。", "."),
        **dict.fromkeys("၊،、؛", ","),
        "؟": "?",
        # Invisible: soft hyphen, zero-width characters, writing directions, variation selectors.
        **dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F)], None),
        **dict.fromkeys([0xFEFF, *range(0x2060, 0x206A), *range(0xFE00, 0xFE10)], None),
    }
)
_ADDRESS = re.compile(
    r"""
    (?:https?|ftp)://\S+ | (?<!\w)www\.\S+
    | (?<![\w.+-]) [\w.+-]+ @ [\w-]+ (?:\.[\w-]+)+                     # e-mail
    | (?<![\w.+-]) (?:[\w-]+\.)+ (?:com|org|net|edu|gov|info|co\.uk|de|fr|ru|jp|nl|eu)
      (?: /\S* | (?![\w-]) )                                           # flickr.com/photos/…
    | (?<![\w.+-]) @\w+                                                # a user
    | ^ \w+:\w+=\S*                                                    # Flickr: geo:lat=51.2
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FILE_ENDING = re.compile(r"\.(?:jpe?g|png|gif|tiff?|bmp|webp|cr2|nef|dng|raw)\b", re.IGNORECASE)
_CAMERA_NAME = re.compile(
    r"""
    (?<! [^\W_] ) _?
    (?: (?:IMGP?|DSC[NFP]?|CIMG|PICT|SAM|SDC|MG|MVI|VID|GOPR|DJI|PXL|HPIM|KIF|PANO|WP) [-_]? \d{3}
      | P \d{6} )
    \d* (?: [-_] (?: \d+ | HDR ) )*
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Names of files and pages, as in Golden-Retriever-Puppy-2; two parts stay one word: t-shirt.
_SLUG = re.compile(r"(?<![\w-])\w+(?:-\w+){2,}")
# Their periods end no sentence: U.S.A., J. Smith, Mt. Fuji.
_INITIALS = re.compile(r"(?<![\w.])(?:[^\W\d_]\.){2,}|(?<!\w)[A-Z]\.$")
_ABBREVIATION = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Mt|Ft|Jr|Sr|No|vs|ca|approx)\.$")
# French, Italian: l'arbre, dell'acqua.
_ELISION = re.compile(r"(?<![\w'])(?:[cdjlmnst]|qu|dell|nell|sull|un)'(?=\w\w)", re.IGNORECASE)
_SEPARATOR = re.compile(r"^[-~]+$|::|\|")

# Combining marks that belong to words, though \w leaves them out; Indic to Khmer as whole blocks.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u109f\u1780-\u17d3"
_LETTERS = rf"[^\W_][\w{_MARKS}]*"
_CLITIC = re.compile(r"(?<=\w)(?:'(?:s|re|ve|ll|d|m)|n't)\b", re.IGNORECASE)
# What matches nothing here (emoji, bullets, control characters) only separates words.
_TOKEN = re.compile(
    rf"""
    \d+ (?: [.,:/] \d+ )+ \w*                      # 10/13/2007, 1,000, 1.5m
    | ' (?: s|re|ve|ll|d|m ) \b | n't \b
    | {_LETTERS} (?: [-'] {_LETTERS} )*            # t-shirt, O'Brien
    | [.!?\n]+ | [,;:()"'$%&\#-]
    """,
    re.IGNORECASE | re.VERBOSE,
)


def tokens(chunk: str) -> list[str]:
    """Return the tokens of what stands between two blanks, in Unicode's form NFKC.

    Addresses, names that cameras give to files (`IMG_1234.JPG`) and invisible characters are gone.
    Several of `ENDS` in a row are one; what separates pieces of text, such as `|`, is a period.
    """
    if chunk.isascii():
        if chunk.isalpha():
            return [chunk]
    else:
        chunk = unicodedata.normalize("NFKC", chunk.translate(_TYPOGRAPHY))
    chunk = _CAMERA_NAME.sub(" ", _FILE_ENDING.sub(" ", _ADDRESS.sub(" ", chunk)))
    chunk = _SEPARATOR.sub("\n", chunk.replace("_", " "))
    chunk = _SLUG.sub(lambda slug: slug[0].replace("-", " "), chunk)
    chunk = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), chunk)
    chunk = _ELISION.sub(r"\g<0> ", _ABBREVIATION.sub(r"\1", chunk))
    found = _TOKEN.findall(_CLITIC.sub(r" \g<0>", chunk))
    return [token if token[0] not in ".!?\n" else token[0].replace("\n", ".") for token in found]
