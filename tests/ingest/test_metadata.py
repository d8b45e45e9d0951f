import json

import pytest

from components.ingest.metadata import records, tags, text

GOOD = [{"id": "a", "title": "one"}, {"id": "b", "title": 'a "quoted" }, { thing'}, {"id": "c"}]


@pytest.mark.parametrize("indent", [None, 2])
def test_a_file_that_is_json_is_taken_as_it_is(indent: int | None) -> None:
    found = records(json.dumps(GOOD, indent=indent).encode())

    assert [record.fields for record in found] == GOOD
    assert {record.kind for record in found} == {""}


@pytest.mark.parametrize("indent", [None, 2])
def test_illegal_escapes_are_repaired_and_legal_ones_kept(indent: int | None) -> None:
    content = json.dumps([*GOOD, {"id": "d", "title": "PLACE"}], indent=indent)
    content = content.replace("PLACE", r"C:\\here \\x \d \"q\" \u00e9 \u12")

    found = records(content.encode())

    assert [record.fields for record in found[:3]] == GOOD
    assert found[3].fields == {"id": "d", "title": 'C:\\here \\x \\d "q" é \\u12'}
    assert [record.kind for record in found] == ["", "", "", "repaired record"]
    assert "escape" in found[3].detail


@pytest.mark.parametrize("indent", [None, 2])
def test_a_record_that_is_lost_leaves_its_place_empty(indent: int | None) -> None:
    content = json.dumps(GOOD, indent=indent).replace('"title": "one"', '"title": one"')

    found = records(content.encode())

    assert [record.kind for record in found] == ["lost record", "", ""]
    assert [record.fields for record in found] == [{}, *GOOD[1:]]


def test_a_file_that_ends_too_early_gives_the_records_before() -> None:
    content = json.dumps(GOOD, indent=2)

    found = records(content[: content.index('"c"')].encode())

    assert [record.fields for record in found] == [*GOOD[:2], {}]
    assert [record.kind for record in found] == ["", "", "lost record"]


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]"])
def test_a_file_without_records_gives_none(content: bytes) -> None:
    assert records(content) == []


def test_lists_too_deep_to_decode_are_no_records() -> None:
    assert records(b"[" * 200_000) == []


def test_a_field_becomes_text_whatever_it_is() -> None:
    assert text(["red", "car", 2]) == "red car 2"
    assert text(None) == ""
    assert text(17) == "17"
    assert text("half a pair: \ud83d") == "half a pair: ?"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("dog puppy", "dog puppy"),
        ("dog geo:lat=51,2 puppy", "dog geo:lat=51,2 puppy"),
        (["golden retriever", "", " puppy ", 2], "golden_retriever puppy 2"),
        ([], ""),
        (None, ""),
        (17, "17"),
    ],
)
def test_tags_are_separated_by_blanks(value: object, expected: str) -> None:
    assert tags(value) == expected
