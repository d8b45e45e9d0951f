"""Texts in the manner of real pages, and the keywords that a person would pick."""

from pathlib import Path

import pytest

from components.tagging.keywords import Extractor
from components.tagging.language import language
from components.tagging.phrases import phrases
from components.tagging.taggers import load

# Name, title, description, tags, and the keywords, with commas between them.
PAGES = [
    (
        "a hiking blog",
        "Mule Deer Buck, Rocky Mountain National Park",
        "We hiked 12 miles along the Cub Lake trail last Sunday and came upon a large mule deer "
        "buck grazing in the meadow. He didn't mind us at all! Click here for more photos.",
        "",
        "rocky mountain national park, park, mule deer, deer, buck, cub, lake, trail, large, "
        "grazing, meadow",
    ),
    (
        "a stock photo",
        "Cute golden retriever puppy isolated on white background - Stock Photo #1234567",
        "Download this royalty-free stock photo of a golden retriever puppy. High resolution. "
        "© 2012 John Smith / Shutterstock",
        "",
        "cute, golden retriever, retriever, puppy, white",
    ),
    (
        "a bare list of tags",
        "",
        "",
        "goldenretriever puppy dog canon eos5d geotagged geo:lat=37.77 explore 2009 sanfrancisco "
        "kittens flowers",
        "golden retriever, retriever, puppy, dog, san francisco, kitten, flower",
    ),
    (
        "a camera",
        "DSC_0123.JPG",
        "Taken with my Nikon D90, 50mm f/1.8. ISO 200.",
        "nikon d90 nikkor 50mm",
        "",
    ),
    (
        "another language",
        "Кошка на окне",
        "Рыжая кошка и собака.",
        "кошка cat",
        "кошка, окне, рыжая, собака, cat",
    ),
    (
        "a field guide",
        "WILSON'S WARBLER (Wilsonia pusilla)",
        "A male Wilson's warbler singing from a willow branch near the creek. These tiny yellow "
        "birds winter in Mexico.",
        "wilsonswarbler warbler bird yellow",
        "wilson's warbler, wilsonia pusilla, warbler, male, singing, willow, branch, creek, tiny, "
        "yellow, bird, winter, mexico",
    ),
    (
        "a shop",
        "Women's Running Shoes - Buy Online | Free Shipping",
        "Shop our range of women&#39;s running shoes, sneakers &amp; sandals. <b>Sale price "
        "$59.99</b>. Ships within 24 hours.",
        "",
        "woman, running, shoe, sneaker, sandal, shop, range",
    ),
    (
        "a recipe",
        "Chicken Tikka Masala Recipe | Easy Dinner Ideas",
        "Tender pieces of chicken in a creamy tomato sauce with basmati rice and naan. Pin it now! "
        "http://www.foodblog.com/recipes?id=12",
        "",
        "chicken, tikka, masala, recipe, easy, dinner, idea, tender, piece, creamy, tomato sauce, "
        "sauce, basmati, rice, naan",
    ),
    (
        "an advertisement",
        "2009 Ford Mustang GT",
        "For sale: red convertible with leather seats, V8 engine and only 30k miles. Call 555-1234 "
        "or email bob@cars.com.",
        "ford mustang convertible muscle car",
        "red, convertible, leather, seat, v8, engine, ford, mustang, muscle, car",
    ),
    (
        "an encyclopedia",
        "File:Eiffel Tower at night.jpg - Wikimedia Commons",
        "This file is licensed under the Creative Commons Attribution-Share Alike 3.0 Unported "
        "license.",
        "paris france eiffeltower night lights",
        "eiffel tower, tower, night, paris, france, light",
    ),
    (
        "a wallpaper",
        "Amazing Sunset Over The Golden Gate Bridge San Francisco Wallpaper HD 1920x1080",
        "Download free HD wallpapers of the Golden Gate Bridge at sunset.",
        "",
        "amazing, sunset, golden gate bridge, bridge, san francisco",
    ),
    (
        "an animal of another name",
        "Sea lions sleeping at Pier 39",
        "California sea lions on the docks of San Francisco 😍😍 #sunset",
        "sealions pier39",
        "sea lion, california sea lion, pier, dock, san francisco, sunset, pier39",
    ),
]


@pytest.fixture(scope="module")
def extract(nltk_data: Path) -> Extractor:
    tagger = load("averaged_perceptron_tagger_eng")
    known = language(tagger.tags)
    return Extractor(tagger, known, phrases(known), "all", "nouns+adjectives", True)


@pytest.mark.parametrize(
    ("title", "description", "tags", "keywords"),
    [page[1:] for page in PAGES],
    ids=[page[0] for page in PAGES],
)
def test_the_keywords_are_what_a_person_would_pick(
    extract: Extractor, title: str, description: str, tags: str, keywords: str
) -> None:
    found = extract({"title": [title], "description": [description], "tags": [tags]})
    assert {extract.words[word] for word in found.words} == set(filter(None, keywords.split(", ")))
