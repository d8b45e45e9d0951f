"""The container images of the stages, with tags that follow what is in them.

    python -m pipelines.images                                         # one image per stage
    python -m pipelines.images build                                   # with Docker
    python -m pipelines.images build -- --build-arg BASE=registry/cuda-python:12.8
    python -m pipelines.images --registry registry.example.org/team push

`WEBLY_REGISTRY` does the same as `--registry`, for whatever names an image: compile and submit
with the same one. `WEBLY_IMAGE_<STAGE>` is the whole name of a stage's image in place of its own;
it is neither built nor pushed here.

KFP caches by the image's name as written, so each stage has a tag of its own: a hash of all that
can change what the stage does. Changing one stage's code reruns that stage and what follows it; a
comment reruns nothing.
"""

import argparse
import ast
import functools
import hashlib
import logging
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from components.shared.container import Component
from components.shared.interface import UserError
from pipelines.steps import STEPS

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[1]
_LOCAL_REGISTRY = "webly"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry", help="where the images are (default: WEBLY_REGISTRY)")
    commands = parser.add_subparsers(dest="command", metavar="build | push")
    build_parser = commands.add_parser("build", help="build the images of this tree's code")
    build_parser.add_argument(
        "options", nargs="*", metavar="-- OPTION", help="options of docker build"
    )
    commands.add_parser("push", help="push them to the registry")
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if given.registry:
        os.environ["WEBLY_REGISTRY"] = given.registry
    try:
        if given.command == "build":
            build(given.options)
        elif given.command == "push":
            push()
        else:
            for component in components():
                sys.stdout.write(f"{reference(component)}\n")
    except UserError as error:
        logger.error("%s", error)
        sys.exit(2)


def components() -> list[Component]:
    """Return the stages, by target and in the order of the method."""
    found = dict.fromkeys(step.component for step in STEPS.values() if step.component)
    return sorted(found, key=lambda component: component.target)


def reference(component: Component) -> str:
    """Return the whole name of a stage's image, such as `webly/train:finetune-3f2a91c`.

    The part before the target is `WEBLY_REGISTRY`; `WEBLY_IMAGE_FINETUNE` replaces all of it.
    """
    registry = os.environ.get("WEBLY_REGISTRY") or _LOCAL_REGISTRY
    own = f"{registry}/{component.target}:{tag(component.name, component.target)}"
    return os.environ.get(_variable(component)) or own


def build(options: Sequence[str]) -> None:
    """Build each target once, and give the image the tags of all stages that it serves.

    Args:
        options: More options of `docker build`.

    Raises:
        UserError: Docker is not there, or the build fails; docker has said why.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = {"VERSION": project["version"], "REVISION": _revision()}
    for target, stages in groupby(_own(), key=lambda component: component.target):
        tags = [f"--tag={reference(component)}" for component in stages]
        arguments = [f"--build-arg={name}={value}" for name, value in labels.items()]
        file = ["--file", str(ROOT / "docker" / "Dockerfile"), "--target", target]
        _docker("build", *file, *tags, *arguments, *options, str(ROOT))


def push() -> None:
    """Push the images of the stages.

    Raises:
        UserError: No registry is given, docker is not there, or it fails and has said why.
    """
    if not os.environ.get("WEBLY_REGISTRY"):
        raise UserError("push needs a registry: set WEBLY_REGISTRY or give --registry")
    for component in _own():
        _docker("push", reference(component))


def _own() -> list[Component]:
    return [component for component in components() if not os.environ.get(_variable(component))]


def _variable(component: Component) -> str:
    return f"WEBLY_IMAGE_{component.name.upper()}"


def _revision() -> str:
    """Return the commit, marked if the tree differs from it; empty outside a git repository."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def _docker(*arguments: str) -> None:
    """Run a docker command, which shows what it does."""
    try:
        code = subprocess.run(["docker", *arguments]).returncode
    except FileNotFoundError:
        raise UserError("docker: no such command; install Docker (docs.docker.com)") from None
    if code:
        raise UserError(f"docker {arguments[0]} failed with exit code {code}; it says why above")


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
        tree = ast.parse(path.read_text())
        waiting += _imports(tree)
        found[name] = _canonical(tree)
    return found


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


if __name__ == "__main__":
    main()
