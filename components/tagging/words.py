"""Sentences and words, in the manner of the Penn Treebank that NLTK's tagger learned from."""

import re

# Combining marks that belong to words, though \w leaves them out; Indic to Khmer as whole blocks.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u109f\u1780-\u17d3"
_LETTERS = rf"[^\W_][\w{_MARKS}]*"
_CLITIC = re.compile(r"(?<=\w)(?:'(?:s|re|ve|ll|d|m)|n't)\b", re.IGNORECASE)
# What matches nothing here (emoji, bullets, control characters) only separates words.
_TOKEN = re.compile(
    rf"""
    \d+ (?: [.,:/] \d+ )+ (?! \w )                 # 10/13/2007, 1,000
    | ' (?: s|re|ve|ll|d|m ) \b | n't \b
    | {_LETTERS} (?: [-'] {_LETTERS} )*            # t-shirt, O'Brien
    | [.!?]+ | [,;:()"'$%&\#-]
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ENDS = frozenset(".!?")

MIN_LETTERS, MAX_LETTERS, MAX_DIGITS = 2, 30, 3
# Words of grammar, which the tagger takes for names where a title capitalises them; then words of
# the calendar, and about pictures and pages as such: they are in many texts and in no picture.
_STOP_WORDS = """
    a an the this that these those some any each every all both no not such same other another
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    who whom whose which what where when why how
    am is are was were be been being do does did done have has had having can could may might must
    shall should will would
    about above across after against along among around as at before behind below beneath beside
    between beyond by during for from in inside into near of off on onto out outside over past per
    since than through to toward towards under until up upon via with within without
    and but or nor if so because while though although also too very just only more most much many
    here there then now again once ever never yet
    mr mrs ms dr jr sr vs etc ft eg ie
    january february march april june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday am pm
    click download flickr image jpeg jpg photo photograph photography pic picture pinterest please
    taken untitled wallpaper
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def sentences(text: str) -> list[list[str]]:
    """Return the tokens of each sentence of a clean text; a sentence ends with . ! or ?

    Lines are not joined. A fragment, such as a title, gets a period: the tagger has seen hardly
    any words with nothing after them, and tags a closing `kitten` as a verb. A single word is
    returned as it is.
    """
    found = []
    for line in text.splitlines():
        if line.isupper():  # the tagger would take each word for a name
            line = line.lower()
        sentence: list[str] = []
        for token in _TOKEN.findall(_CLITIC.sub(r" \g<0>", line)):
            if token[0] not in _ENDS:
                sentence.append(token)
            elif sentence:
                found.append(_closed(sentence, token[0]))
                sentence = []
        if sentence:
            found.append(_closed(sentence, "."))
    return found


def _closed(sentence: list[str], end: str) -> list[str]:
    return [*sentence, end] if len(sentence) > 1 else sentence


def words(text: str) -> list[str]:
    """Return the words of a clean text that is no prose, such as Flickr's tags."""
    return [token for token in _TOKEN.findall(text) if token[0].isalnum()]


def is_keyword(word: str) -> bool:
    """Return whether a lower-case word can be a keyword: no number, code or word of grammar."""
    return (
        MIN_LETTERS <= len(word) <= MAX_LETTERS
        and word[0].isalnum()
        and any(map(str.isalpha, word))
        and sum(map(str.isdigit, word)) <= MAX_DIGITS
        and word not in STOP_WORDS
    )
