"""Tags that follow what is in a stage's image.

KFP caches by the image's name as written, so each stage has a tag of its own: a hash of all that
can change what the stage does. Changing one stage's code reruns that stage and what follows it; a
comment reruns nothing. The standard library is all that this needs, and every Python that reads the
code gets the same tags.
"""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@functools.cache
def tag(stage: str, target: str, root: Path = ROOT) -> str:
    """Return a stage's tag: its name, and a hash of its lock, the Dockerfile and its code.

    Args:
        stage: The stage's name.
        target: The Dockerfile's target that serves it.
        root: The project's root.
    """
    digest = hashlib.sha256()
    for path in (root / "docker" / f"{target}.lock", root / "docker" / "Dockerfile"):
        digest.update(path.read_bytes())
    for name, code in sorted(_closure(f"components.{stage}.__main__", root).items()):
        digest.update(f"\n{name}\n{code}".encode())
    return f"{stage}-{digest.hexdigest()[:7]}"


def _closure(module: str, root: Path) -> dict[str, str]:
    """Return the code of a module and of all in the project that it imports, at any depth."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, root)
        if name in found or path is None:
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
    """Return a text that is the same for trees that differ in docstrings and layout only.

    Neither `ast.dump` nor `ast.unparse` is the same in all versions of Python: newer ones add
    fields, which are empty where old syntax is parsed, and quote differently.
    """
    if isinstance(node, list):
        return f"[{','.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return ascii(node)
    fields: dict[str, Any] = dict(ast.iter_fields(node))
    match node:
        case ast.Constant(value=value):
            fields = {"value": value}  # without `kind`, the u of u"text"
        case ast.JoinedStr(values=values):
            # Python 3.12.1 has empty texts around {} in a format.
            fields["values"] = [each for each in values if getattr(each, "value", None) != ""]
        case ast.Module() | ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            if ast.get_docstring(node, clean=False) is not None:
                fields["body"] = node.body[1:]
    content = [
        f"{name}={_canonical(value)}"
        for name, value in fields.items()
        if isinstance(node, ast.Constant) or value not in (None, [])
    ]
    return f"{type(node).__name__}({','.join(content)})"
