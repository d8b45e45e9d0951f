"""Which words can be keywords."""

import re

MIN_LETTERS, MAX_LETTERS, MAX_DIGITS = 2, 30, 3
# From here on a single letter is a word: Chinese and Japanese.
_CJK = "\u2e80"
_FUNCTION_WORDS = """
    a an the this that these those some any each every all both no not such same other another
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    who whom whose which what where when why how myself yourself itself himself herself themselves
    am is are was were be been being do does did done have has had having can could may might must
    shall should will would
    about above across after against along among around as at before behind below beneath beside
    between beyond by during for from in inside into near of off on onto out outside over past per
    since than through to toward towards under until up upon via with within without
    and but or nor if so because while though although also too very just only more most much many
    here there then now again once ever never yet
    own several few first second third last next
    someone something anyone anything everyone everything nobody nothing none
"""
# Of texts in French, Spanish, German, Italian, Portuguese, Dutch, Swedish, Danish and Russian: an
# English tagger takes them for nouns. Those that name something in English (son, car, war, hat,
# den, van, man, sin) are not here.
_FOREIGN = """
    le la les un une des du de et est dans sur avec pour au aux ce cet cette ces mon ma mes tes sa
    ses notre nos votre vos leur leurs qui que quoi dont je tu il elle nous vous ils elles ne pas
    mais ou où donc ni chez sous entre vers très été sont était être en
    el los las una uno unos unas del al con por para su sus mi mis se lo como más pero muy este esta
    estos estas desde hasta sobre es fue ser está están
    der die das dem ein eine einer eines einem einen und oder aber mit von vom zu zum zur im auf aus
    bei beim nach über unter vor für durch gegen ohne um ist sind wird werden wurde haben sein seine
    ihr ihre ich er sie wir nicht auch nur noch wie als wenn dass hier sehr mein meine kein sich
    unser unsere
    gli di della dello dei degli delle da dal dalla nel nella nei sul sulla per tra che chi non sono
    più anche questo questa
    os um uma dos das em na nas pelo pela com sem não são foi mais muito meu minha seu sua
    het een op te met voor bij naar uit aan om onder zijn niet ook maar dan dat dit deze er hij zij
    wij ik mijn onze
    och på ett med av för till det som är og til
    на не по из от для за до что как это его
"""
# Of the calendar, the clock and measures; of pictures, pages and shops as such; of cameras;
# Flickr's awards.
_NOT_IN_PICTURES = """
    january february march april june july august september october november december
    jan feb mar apr jun jul aug sep sept oct nov dec
    monday tuesday wednesday thursday friday saturday sunday am pm today yesterday tomorrow
    day week weekend month year hour minute oclock
    mile inch cm km mm kg lb lbs mph ml kb mb gb
    mr mrs ms dr jr sr vs etc ft eg ie st nd rd th
    background click comment download email file filename flickr free gif hd image img jpeg jpg link
    online photo photograph photographer photography photos pic pics picture pinterest pixel pixels
    please png resolution screenshot taken thanks thumbnail untitled upload url wallpaper webpage
    website
    amp br div gt href html http https lt nbsp quot www com
    alamy bigstock depositphotos dreamstime facebook fotolia getty gettyimages instagram istock
    istockphoto shutterstock tumblr twitter wikimedia wikipedia
    canon coolpix cybershot dsc dscf dscn dslr ef eos exif finepix fujifilm iso lumix nikkor nikon
    pentax powershot slr tamron usm
    abigfave anawesomeshot aplusphoto blueribbonwinner diamondclassphotographer explore explored
    flickrdiamond flickrelite flickriver geotagged impressedbeauty interestingness photoaday
    platinumphoto superbmasterpiece supershot theunforgettablepictures ysplix
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
STOP_WORDS = FUNCTION_WORDS | frozenset((_FOREIGN + _NOT_IN_PICTURES).split())
_MEASURE = re.compile(r"\d+[.,:/]\d")  # 1.5m, 2.0l
# Cameras and lenses, as Flickr's tags have them: nikond90, eos5d, d90, 550d, 50mm, 18-55mm; sizes.
_CAMERA = re.compile(
    r"(?:canon|eos|nikon|olympus|panasonic|pentax|sony)\w*\d\w*"
    r"|d\d{2,3}[sx]?|[5-7]d|\d{2,3}d|[\d-]+(?:mm|cm|km|mp|px)|\d+x\d+"
)


def is_keyword(word: str) -> bool:
    """Return whether a lower-case word can be a keyword: no number, code or word of grammar."""
    return (
        (MIN_LETTERS <= len(word) <= MAX_LETTERS or len(word) == 1 and word >= _CJK)
        and word[0].isalnum()
        and any(map(str.isalpha, word))
        and sum(map(str.isdigit, word)) <= MAX_DIGITS
        and word not in STOP_WORDS
        and not _MEASURE.match(word)
        and not _CAMERA.fullmatch(word)
    )
