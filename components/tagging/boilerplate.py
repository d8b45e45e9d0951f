"""What pages say about themselves and not about their pictures: licences, shops, cameras."""

# These words go.
_PHRASES = """
    add to basket, add to cart, add to wishlist, buy now, buy online, download now, for sale,
    free delivery, free download, free downloads, free shipping, full size, hd wallpaper,
    hd wallpapers, high definition, high quality, high res, high resolution, in stock, learn more,
    limited time offer, low res, low resolution, public domain, read more, royalty free, sale price,
    see more, shop now, show more, similar images, stock footage, stock illustration,
    stock illustrations, stock image, stock images, stock photo, stock photography, stock photos,
    stock picture, stock pictures, stock vector, stock vectors, vector illustration, view all,
    view more
"""
# With these goes the rest of their sentence.
_OPENINGS = """
    all rights reserved, best viewed, canon eos, canon powershot, cc by, check out my, click here,
    click on, click the, click to, copyright, copyrighted, creative commons, do not copy,
    do not distribute, do not download, do not post, do not publish, do not reproduce, do not use,
    feel free to, image courtesy of, image credit, images courtesy of, leave a comment,
    licensed under, nikon coolpix, nikon d, no part of this, panasonic lumix, photo by,
    photo courtesy of, photo credit, photograph by, photographed by, photos by, picture by,
    please comment, please contact, please credit, please do not, please don n't, please feel free,
    please leave, please like, please note, please respect, please share, please subscribe,
    please visit, released under, ships from, ships within, shot with, some rights reserved,
    sony alpha, taken using, taken with, thanks for, thanks to, unauthorized use, view large,
    view on black, visit my, visit our, without permission, your comments
"""


def _sequences(text: str) -> list[list[str]]:
    return [sequence.split() for sequence in text.replace("\n", " ").split(",")]


PHRASES, OPENINGS = _sequences(_PHRASES), _sequences(_OPENINGS)
