"""What pages say about themselves and not about their pictures: licences, shops, cameras.

Legend: N tokens.
"""

import numpy as np
from numpy.typing import NDArray

from components.shared.data.sequences import Sequences
from components.tagging.memo import Memo
from components.tagging.perceptron import Perceptron

# These words go.
_PHRASES = """
    add to basket, add to cart, add to wishlist, buy now, buy online, download now, for sale,
    free delivery, free download, free downloads, free shipping, full size, hd wallpaper,
    hd wallpapers, high definition, high quality, high res, high resolution, in stock, learn more,
    limited time offer, low res, low resolution, public domain, read more, royalty free,
    royalty-free, sale price, see more, shop now, show more, similar images, stock footage,
    stock illustration, stock illustrations, stock image, stock images, stock photo,
    stock photography, stock photos, stock picture, stock pictures, stock vector, stock vectors,
    vector illustration, view all, view more, wikimedia commons
"""
# With these goes the rest of their sentence, or what is before the next colon.
_OPENINGS = """
    all rights reserved, best viewed, canon eos, canon powershot, cc by, check out my, click here,
    click on, click the, click to, copyright, copyrighted, creative commons, do not copy,
    do not distribute, do not download, do not post, do not publish, do not reproduce, do not use,
    feel free to, image courtesy of, image credit, images courtesy of, leave a comment,
    licensed under, nikon coolpix, nikon d, no part of this, panasonic lumix, photo by,
    photo courtesy of, photo credit, photograph by, photographed by, photos by, picture by,
    please comment, please contact, please credit, please do not, please do n't, please feel free,
    please leave, please like, please note, please respect, please share, please subscribe,
    please visit, released under, ships from, ships within, shot with, some rights reserved,
    sony alpha, taken using, taken with, thanks for, thanks to, unauthorized use, view large,
    view on black, visit my, visit our, without permission, your comments
"""


class Boilerplate:
    """Finds what pages say about themselves."""

    def __init__(self, perceptron: Perceptron) -> None:
        """Prepare to look for it among words that are numbered by `perceptron`."""
        phrases, openings = (
            [sequence.split() for sequence in text.split(",")] for text in (_PHRASES, _OPENINGS)
        )
        self._sequences = Sequences([*phrases, *openings])
        self._first_opening = len(phrases)
        self._perceptron, known = perceptron, self._sequences.words
        self._words = Memo(
            lambda words: [known.get(perceptron.words[word].lower(), -1) for word in words]
        )
        self.forget = self._words.forget

    def among(self, words: NDArray[np.int32], sentences: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether each token (N,) is boilerplate.

        Args:
            words: (N,) the tokens' numbers.
            sentences: (N,) the number of the sentence that each is in, ascending.
        """
        found = np.zeros(len(words), bool)
        clauses = sentences + np.cumsum(words == self._perceptron.number(":"))
        rest = np.full(1 + clauses.max(initial=0), len(words))
        for starts, length, numbers in self._sequences.find(self._words[words]):
            found[starts[:, None] + np.arange(length)] = True
            openings = starts[numbers >= self._first_opening]
            np.minimum.at(rest, clauses[openings], openings)
        rest_of_clause: NDArray[np.bool_] = np.arange(len(words)) >= rest[clauses]
        return found | rest_of_clause
