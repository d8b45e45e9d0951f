"""Which words can be keywords."""

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


def is_keyword(word: str) -> bool:
    """Return whether a lower-case word can be a keyword: no number, code or word of grammar."""
    return (
        MIN_LETTERS <= len(word) <= MAX_LETTERS
        and word[0].isalnum()
        and any(map(str.isalpha, word))
        and sum(map(str.isdigit, word)) <= MAX_DIGITS
        and word not in STOP_WORDS
    )
