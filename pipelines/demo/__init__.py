"""The demo's data set: a web-image set in WebVision's layout, drawn and captioned by the computer.

    python -m pipelines.demo FOLDER --wrong-images 0.5

Every image is made of visible attributes (a form, a pattern, colours, a scene), and its text tells
some of them. Labels come from the query that found the image and are often wrong; texts mostly
describe what the image shows. That is the situation the method was made for, at a size that a
laptop trains on in minutes. Size and noise are options; the validation and test images are the same
for any noise, so that results are comparable.
"""
