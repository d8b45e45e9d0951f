"""YAML as recipes use it: one document of plain values, and no more than a person writes.

What YAML has beyond that is refused or not heeded: tags, keys that are no text, several documents,
aliases that refer to themselves or multiply, dates, which are text here.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.shared.stage.errors import UserError, shortened, shown

# Ten times those of the largest recipes here. Aliases count as often as they are used.
MOST_BYTES, MOST_VALUES, MOST_DEPTH = 100_000, 10_000, 20
# Much faster than Python's own, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
_AS_TEXT = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class Document(NamedTuple):
    """What a text says.

    Attributes:
        content: Of None, bool, int, float, str, list and dict, whose keys are str.
        lines: The line of each entry of a mapping (with an empty second part), and of the entries
            of mappings in it, from 1.
    """

    content: Any
    lines: Mapping[tuple[str, str], int]


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        UserError: It is not in UTF-8, or as in `parse`.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise UserError(f"has more than {MOST_BYTES:,} bytes: this is no recipe")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UserError(f"line {line}: not UTF-8: save the file in that encoding") from None


def parse(text: str) -> Document:
    """Parse a text.

    Raises:
        UserError: It is not YAML, has too much of something, or what plain values do not need.
    """
    if len(text) > MOST_BYTES:
        raise UserError(f"has {len(text):,} characters, of at most {MOST_BYTES:,}")
    try:
        _check_size(text)
        loader = _LOADER(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, {})
        lines = dict(_lines(root))
        for node in _nodes(root):
            _check(node)
            _check_number(loader, node)
        return Document(loader.construct_document(root), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ": ".join(filter(None, [error.context, error.problem]))
        raise UserError(f"line {mark.line + 1 if mark else 1}: {said}") from None
    except UnicodeEncodeError:  # an argument in another encoding
        raise UserError("not UTF-8") from None
    except yaml.YAMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def _check_size(text: str) -> None:
    """Refuse tags, and too many or too deep values, before anything is built of them."""
    sizes: dict[str | None, int] = {}  # of what has an anchor
    opened: list[tuple[str | None, int]] = []  # anchors, and the number of values before them
    values = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.AliasEvent(anchor=anchor):
                if any(anchor == name for name, _ in opened):
                    raise UserError(f"line {line}: the alias {shown(anchor)} is part of itself")
                values += sizes.get(anchor, 1)
            case yaml.ScalarEvent(anchor=anchor):
                values += 1
                sizes |= {anchor: 1} if anchor else {}
            case yaml.CollectionStartEvent(anchor=anchor):
                opened.append((anchor, values))
                values += 1
            case yaml.CollectionEndEvent():
                anchor, before = opened.pop()
                sizes |= {anchor: values - before} if anchor else {}
        if tag := getattr(event, "tag", None):
            raise UserError(f"line {line}: tag {shown(tag)}: write the value without it")
        if len(opened) > MOST_DEPTH:
            raise UserError(f"line {line}: values are nested more than {MOST_DEPTH} deep")
        if values > MOST_VALUES:
            raise UserError(
                f"line {line}: more than {MOST_VALUES:,} values, those of aliases included"
            )


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield all nodes, each once."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        match node:
            case yaml.MappingNode(value=entries):
                waiting += [part for entry in entries for part in entry]
            case yaml.SequenceNode(value=entries):
                waiting += entries


def _check(node: yaml.Node) -> None:
    """Take dates as text; refuse keys that are no text, or set twice."""
    if node.tag in _AS_TEXT:
        node.tag = _STR
    keys = [key for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    for key in keys:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise UserError(f"line {line}: a key must be text")
        if key.tag not in (_STR, _MERGE, *_AS_TEXT):
            raise UserError(f"line {line}: key {shown(key.value)}: must be text: put it in quotes")
    ordered = sorted(keys, key=lambda key: (key.value, key.start_mark.line))
    for first, second in pairwise(ordered):
        if first.value == second.value:
            line = second.start_mark.line + 1
            raise UserError(f"line {line}: {shortened(second.value)} is set twice")


def _check_number(loader: Any, node: yaml.Node) -> None:
    """Refuse a scalar that looks like a number and that Python cannot read."""
    if isinstance(node, yaml.ScalarNode) and node.tag != _MERGE:
        try:
            loader.construct_object(node)
        except (ValueError, OverflowError):
            line = node.start_mark.line + 1
            raise UserError(f"line {line}: {shown(node.value)}: no number, or too long") from None


def _lines(root: yaml.Node) -> Iterator[tuple[tuple[str, str], int]]:
    for section, entry in root.value if isinstance(root, yaml.MappingNode) else ():
        if isinstance(section, yaml.ScalarNode):
            yield (section.value, ""), section.start_mark.line + 1
            for name, _ in entry.value if isinstance(entry, yaml.MappingNode) else ():
                if isinstance(name, yaml.ScalarNode):
                    yield (section.value, name.value), name.start_mark.line + 1
