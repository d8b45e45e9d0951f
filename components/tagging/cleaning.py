"""Cleaning of the web's texts: what is left is prose, one line for each separate piece of text.

What concerns a single word (addresses, names of files, odd characters) is left to `tokens.py`,
which sees each distinct word only once.
"""

import re

from components.shared.data.texts import unescaped

# Longer texts are scraped pages and lists of search words; what they add is noise.
MAX_CHARACTERS = 20_000

_CODE = re.compile(r"<(?:script|style)\b[^<>]*>[^<]*", re.IGNORECASE)
_BLOCK = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|td|h\d)\b[^<>]*>", re.IGNORECASE)
_BBCODE = re.compile(r"\[/?(?:b|i|u|img|url|quote)\b[^\[\]]*\]", re.IGNORECASE)
_TAG = re.compile(r"<[!/?]?[a-z-][^<>]*>", re.IGNORECASE)


def clean(text: str) -> str:
    """Return the prose of a text as the web gives it, without markup."""
    text = text[:MAX_CHARACTERS]
    text = unescaped(unescaped(text))  # often escaped twice
    if "<" in text:
        text = _TAG.sub(" ", _BLOCK.sub("\n", _CODE.sub(" ", text)))
    if "[" in text:
        text = _BBCODE.sub(" ", text)
    return text
