"""Cleaning of the web's texts: what is left is prose, one line for each separate piece of text."""

import html
import re
import unicodedata

# Longer texts are scraped pages and lists of search words; what they add is noise.
MAX_CHARACTERS = 20_000

_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("–—―−", " - "),
        **dict.fromkeys("™®©℠", " "),  # NFKC would turn them into letters
        # Invisible: soft hyphen, zero-width characters, writing directions, variation selectors.
        **dict.fromkeys([0xAD, *range(0x200B, 0x2010), *range(0x202A, 0x202F)], None),
        **dict.fromkeys([0xFEFF, *range(0x2060, 0x206A), *range(0xFE00, 0xFE10)], None),
    }
)
_CODE = re.compile(r"<(?:script|style)\b[^<>]*>[^<]*", re.IGNORECASE)
_BLOCK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|h\d)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<[!/?]?[a-z-][^<>]*>", re.IGNORECASE)
_ADDRESS = re.compile(
    r"""
    (?:https?|ftp)://\S+ | (?<!\w)www\.\S+
    | (?<![\w.+-]) [\w.+-]+ @ [\w-]+ (?:\.[\w-]+)+                     # e-mail
    | (?<![\w.+-]) (?:[\w-]+\.)+ (?:com|org|net|edu|gov|info|co\.uk|de|fr|ru|jp|nl|eu)
      (?: /\S* | (?![\w-]) )                                           # flickr.com/photos/…
    | (?<![\w.+-]) @\w+                                                # a user
    | (?<!\S) \w+:\w+=\S*                                              # Flickr: geo:lat=51.2
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FILE_ENDING = re.compile(r"\.(?:jpe?g|png|gif|tiff?|bmp|webp|cr2|nef|dng|raw)\b", re.IGNORECASE)
_CAMERA_NAME = re.compile(
    r"""
    (?<! [^\W_] ) _?
    (?: (?:IMGP?|DSC[NFP]?|CIMG|PICT|SAM|SDC|MG|MVI|VID|GOPR|DJI|PXL|HPIM|KIF|PANO|WP) [-_\ ]? \d{3}
      | P \d{6} )
    \d* (?: [-_] (?: \d+ | HDR ) )*
    """,
    re.IGNORECASE | re.VERBOSE,
)
# Names of files and pages, as in Golden-Retriever-Puppy-2; two parts stay one word: t-shirt.
_SLUG = re.compile(r"(?<![\w-])\w+(?:-\w+){2,}")
# Their periods end no sentence: U.S.A., J. Smith, Mt. Fuji.
_INITIALS = re.compile(r"(?<![\w.])(?:[^\W\d_]\.){2,}|(?<!\w)[A-Z]\.(?=\s+[A-Z])")
_ABBREVIATION = re.compile(r"\b(Mr|Mrs|Ms|Dr|St|Mt|Ft|Jr|Sr|No|vs|ca|approx)\.(?=\s)")
_SEPARATOR = re.compile(r"[|•·¦→]|::|\s[-~]+\s")


def clean(text: str) -> str:
    """Return the prose of a text as the web gives it, in Unicode's form NFKC.

    HTML, addresses, camera names (`IMG_1234.JPG`) and invisible characters are gone; pieces that
    HTML or a separator kept apart are on lines of their own. Emoji stay: they are no words.
    """
    text = text[:MAX_CHARACTERS]
    if "&" in text:  # often escaped twice
        text = html.unescape(html.unescape(text))
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_TYPOGRAPHY))
    if "<" in text:
        text = _TAG.sub(" ", _BLOCK.sub("\n", _CODE.sub(" ", text)))
    text = _CAMERA_NAME.sub(" ", _FILE_ENDING.sub(" ", _ADDRESS.sub(" ", text)))
    text = text.replace("_", " ")
    text = _SLUG.sub(lambda slug: slug[0].replace("-", " "), text)
    text = _INITIALS.sub(lambda initials: initials[0].replace(".", ""), text)
    text = _ABBREVIATION.sub(r"\1", text)
    return _SEPARATOR.sub("\n", text)
