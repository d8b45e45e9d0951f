"""The identity of code: a digest that changes when a result may, and at no other time.

Image tags, checkpoints, unfinished parts and drawn data are named by it, so whatever changes it
costs somebody a training. It holds a module, all that it imports from this project at any depth,
and the lock of what it imports from elsewhere. Left out are comments, docstrings, log lines, the
text of errors, and the modules that by contract change no result (`_is_neutral`): the golden
results in `tests/` hold them to it.

The standard library is all that this needs, and every Python that reads the code finds the same.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]

# Where bytes come from, what pages look like, how a stage is called, watched and spread over nodes.
_NEUTRAL = (
    "components.shared.stage",
    "components.shared.storage",
    "components.shared.reports",
    "components.trainjob",
)
_LENGTH = 16  # hexadecimal digits


@functools.cache
def fingerprint(module: str, *locks: str, root: Path = ROOT) -> str:
    """Return the identity of a module's code, 16 hexadecimal digits.

    Args:
        module: Its name, such as `components.tagging.stage`.
        *locks: What else can change a result: names of `docker/<name>.lock`.
        root: The project's root.

    Raises:
        FileNotFoundError: There is no such lock.
    """
    digest = hashlib.sha256()
    for name in locks:
        digest.update((root / "docker" / f"{name}.lock").read_bytes())
    for name, code in sorted(_closure(module, root).items()):
        digest.update(f"\n{name}\n{code}".encode())
    return digest.hexdigest()[:_LENGTH]


def _is_neutral(module: str) -> bool:
    """Return whether a module changes no result: those of `_NEUTRAL`, and each room's `report`."""
    return module.startswith(tuple(f"{name}." for name in _NEUTRAL)) or module.endswith(".report")


def _closure(module: str, root: Path) -> dict[str, str]:
    """Return the code of a module and of all in the project that it imports, at any depth."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if name in found or path is None or _is_neutral(name):
            continue
        imports, found[name] = _read(path.read_text())
        waiting += imports
    return found


@functools.cache  # stages share modules
def _read(code: str) -> tuple[tuple[str, ...], str]:
    """Return what a module imports, and its code as `_canonical` writes it."""
    tree = ast.parse(code)
    return tuple(_imports(tree)), _canonical(tree)


def _file(module: str, root: Path) -> Path | None:
    """Return a module's file, or None if the project has no such module."""
    path = root.joinpath(*module.split("."))
    files = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield the modules imported anywhere in a tree; also names that may be modules or not."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                modules = [alias.name for alias in aliases]
            case ast.ImportFrom(module=module, names=aliases, level=level):
                assert module and level == 0, f"relative import, not followed: {ast.unparse(node)}"
                modules = [module, *(f"{module}.{alias.name}" for alias in aliases)]
            case _:
                continue
        for name in modules:
            parts = name.split(".")
            # Importing a module runs the packages that it is in, too.
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _canonical(node: object) -> str:
    """Return a string that is equal for trees that differ only in layout and in text for people.

    Neither `ast.dump` nor `ast.unparse` is the same in all versions of Python: newer ones add
    fields, which are empty where old syntax is parsed, and quote differently.
    """
    if isinstance(node, list):
        return f"[{','.join(_canonical(each) for each in node if not _is_logging(each))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields: dict[str, Any] = dict(ast.iter_fields(node))
    match node:
        case ast.Constant(value=value):
            fields = {"value": value}  # without `kind`, the u of u"text"
        case ast.JoinedStr(values=values):
            # Python 3.12.1 has empty texts around {} in a format.
            fields["values"] = [each for each in values if getattr(each, "value", None) != ""]
        case ast.Raise(exc=ast.Call(func=ast.Name(id="UserError" | "StorageError" as name))):
            fields = {"exc": name}
        case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            if ast.get_docstring(node, clean=False) is not None:
                fields["body"] = node.body[1:]
    content = [
        f"{name}={_canonical(value)}"
        for name, value in fields.items()
        if isinstance(node, ast.Constant) or value not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(content)})"


def _is_logging(node: object) -> bool:
    """Return whether a statement does nothing but log."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="logger")))):
            return True
    return False
