from pathlib import Path

import pytest

from components.shared.stage.errors import UserError
from pipelines import plain_yaml
from pipelines.recipe_files import FOLDER

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join(9 * [f'*a{i - 1}'])}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "line 5: more than 10,000 values, those of aliases included"),
        ("[" + 20_000 * "x, " + "]", "line 1: more than 10,000 values"),
        (90_000 * "[", "line 1: values are nested more than 20 deep"),
        (40_000 * "- ", "line 1: values are nested more than 20 deep"),
        ("x" * 100_001, "has 100,001 characters, of at most 100,000"),
        ("a: 1\nb: " + 5_000 * "9", "line 2: '999.*': no number, or too long"),
        ("a: 0b_", "line 1: '0b_': no number"),
        ("a: " + 5_000 * "9" + ":30", "line 1: '999.*:30': no number"),
        ("a: !!python/object/apply:os.system [x]", "tag 'tag:yaml.org,2002:python/object/apply"),
        ("a: !!str 5", "line 1: tag 'tag:yaml.org,2002:str': write the value without it"),
        ("a: &b\n  - *b", "line 2: the alias 'b' is part of itself"),
        ("a: *b", "line 1: found undefined alias"),
        ("a: 1\n2: 3", "line 2: key '2': must be text: put it in quotes"),
        ("no: 1", "line 1: key 'no': must be text"),
        ("? [a]\n: 1", "line 1: a key must be text"),
        ("a:\n  b: {c: 1,\n    c: 2}", "line 3: c is set twice"),
        ("a: 1\n---\nb: 1", "line 2: expected a single document"),
        ("a:\n\t- 1", "line 2: .*cannot start any token"),
        ("a: \0", "control characters are not allowed"),
        ('a: "\\ud800"', "line 1: .*invalid Unicode"),
        ("a: \udce9", "not UTF-8"),
        ("a: [", "line 2: while parsing"),
        ("<<: 5", "line 1: .*expected a mapping or list of mappings for merging"),
    ],
    ids=lambda case: case[:60],
)
def test_what_no_recipe_needs_is_refused_in_a_short_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        plain_yaml.parse(text)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("", None),
        ("a: 2020-13-45\n2020-01-01: b", {"a": "2020-13-45", "2020-01-01": "b"}),
        ("a: =", {"a": "="}),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}\nd: *x", {"a": {"b": 1}, "c": {"b": 2}, "d": {"b": 1}}),
        ("a: &x {<<: {b: 2}, b: 1}\nc: {<<: *x}", {"a": {"b": 1}, "c": {"b": 1}}),
    ],
)
def test_plain_values_are_read(text: str, content: object) -> None:
    assert plain_yaml.parse(text).content == content


def test_entries_have_their_lines() -> None:
    assert plain_yaml.parse("a: 1\nb:\n  c: {d: 1}\n").lines == {
        ("a", ""): 1,
        ("b", ""): 2,
        ("b", "c"): 3,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb: é".encode("latin-1"), "line 2: not UTF-8: save the file in that encoding"),
        ("a: 1".encode("utf-16"), "line 1: not UTF-8"),
        (b"#" * 100_001, "has more than 100,000 bytes: this is no recipe"),
    ],
)
def test_a_file_that_is_no_text_of_this_size_is_refused(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)

    with pytest.raises(UserError, match=message):
        plain_yaml.read(path)


def test_a_mark_of_the_encoding_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes("a: é".encode("utf-8-sig"))

    assert plain_yaml.read(path).content == {"a": "é"}


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole

    with pytest.raises(UserError, match="no recipe"):
        plain_yaml.read(path)


def test_recipes_are_far_from_these_limits() -> None:
    for path in FOLDER.glob("*.yaml"):
        assert path.stat().st_size * 10 < plain_yaml.MOST_BYTES
