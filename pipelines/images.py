"""The container images of the stages: what they are called, how they are built and pushed.

    python -m pipelines.images                                         # one image per stage
    python -m pipelines.images build                                   # with Docker
    python -m pipelines.images build -- --build-arg BASE=registry/cuda-python:12.8
    python -m pipelines.images --registry registry.example.org/team push

`WEBLY_REGISTRY` does the same as `--registry`, for every command that names an image: compile and
submit with the same one. `WEBLY_IMAGE_<STAGE>` replaces the whole name of a stage's image; such an
image is neither built nor pushed here. Besides the stages' images there is the small one of the
launcher (`LAUNCHER`), which starts stages on several nodes.
"""

import argparse
import logging
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from components.shared.stage import machine
from components.shared.stage.boundary import boundary
from components.shared.stage.container import Component
from components.shared.stage.errors import UserError, shown
from components.shared.stage.fingerprint import ROOT
from pipelines.steps import STEPS

logger = logging.getLogger(__name__)
_LOCAL_REGISTRY = "webly"
_DIGITS = 7  # of a fingerprint
# As Docker's distribution/reference: a host with a port, or a first part; then parts of a path.
_NAME = (
    r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:[0-9]{1,5})?"
    r"(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
)
_REFERENCE = rf"{_NAME}(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?"


class Launcher(NamedTuple):
    """What runs in the pod of a stage on several nodes: not a stage, but in an image like one.

    Attributes:
        name: The module's name below `components`.
        target: The Dockerfile's target.
        fingerprint: A number in place of a fingerprint, raised when newly compiled pipelines need a
            newer launcher: its code changes no result, and its nodes' image is in KFP's cache key.
    """

    name: str
    target: str
    fingerprint: str


LAUNCHER = Launcher("trainjob", "launcher", "2")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.images",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--registry", help="the images' registry (default: WEBLY_REGISTRY)")
    parser.add_argument(
        "command", nargs="?", choices=["list", "build", "push"], default="list", help="(list)"
    )
    parser.add_argument(
        "options", nargs="*", metavar="-- OPTION", help="options of docker build or docker push"
    )
    given = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if given.registry:
        os.environ["WEBLY_REGISTRY"] = given.registry
    with boundary():
        if given.command == "build":
            build(given.options)
        elif given.command == "push":
            push(given.options)
        else:
            for component in _all():
                sys.stdout.write(f"{reference(component)}\n")


def components() -> list[Component]:
    """Return the stages, by target and in the order of the method."""
    found = dict.fromkeys(step.component for step in STEPS.values() if step.component)
    return sorted(found, key=lambda component: component.target)


def reference(component: Component | Launcher) -> str:
    """Return the full name of an image, such as `webly/train:finetune-3f2a91c`.

    KFP caches by the image's name as written: so each stage has a tag of its own, its code's
    fingerprint, and changing one stage's code reruns that stage and its dependents. The part
    before the target is `WEBLY_REGISTRY`; `WEBLY_IMAGE_FINETUNE` replaces all of it.
    """
    registry = _named("WEBLY_REGISTRY", _NAME, "registry.example.org/team") or _LOCAL_REGISTRY
    own = f"{registry}/{component.target}:{component.name}-{component.fingerprint[:_DIGITS]}"
    return _named(_variable(component), _REFERENCE, "registry.example.org/team/image:tag") or own


def _named(variable: str, pattern: str, example: str) -> str:
    """Return the name that a variable has; empty if it is not set.

    Raises:
        UserError: Docker would not take it.
    """
    name = os.environ.get(variable, "")
    if name and not re.fullmatch(pattern, name):
        raise UserError(f"{variable}={shown(name)}: must be as in {example}")
    return name


def has_registry(reference: str) -> bool:
    """Return whether an image's name says in which registry it is."""
    host, separator, _ = reference.partition("/")
    return bool(separator) and (host == "localhost" or "." in host or ":" in host)


def require_registries(references: Iterable[str]) -> None:
    """Refuse names of images that a cluster would look for in a public registry.

    Raises:
        UserError: Not every name has a registry.
    """
    for reference in references:
        if not has_registry(reference):
            raise UserError(
                f"{reference}: names no registry, so a cluster would look for it at Docker Hub: "
                "set WEBLY_REGISTRY (Docker Hub is docker.io/NAME), then build and push the images"
            )


def build(options: Sequence[str]) -> None:
    """Build each target once, and give the image the tags of all stages that it serves.

    Args:
        options: More options of `docker build`.

    Raises:
        UserError: Docker is not installed, or the build fails; docker has printed why.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = {"VERSION": project["version"], "REVISION": machine.revision()}
    for target, stages in groupby(_own(), key=lambda component: component.target):
        tags = [f"--tag={reference(component)}" for component in stages]
        arguments = [f"--build-arg={name}={value}" for name, value in labels.items()]
        file = ["--file", str(ROOT / "docker" / "Dockerfile"), "--target", target]
        _docker("build", *file, *tags, *arguments, *options, str(ROOT))


def push(options: Sequence[str]) -> None:
    """Push the images of the stages.

    Args:
        options: More options of `docker push`.

    Raises:
        UserError: No registry is given, or docker is not installed or fails; it has printed why.
    """
    if not os.environ.get("WEBLY_REGISTRY"):
        raise UserError("push needs a registry: set WEBLY_REGISTRY or --registry")
    for component in _own():
        _docker("push", *options, reference(component))


def _all() -> list[Component | Launcher]:
    return [*components(), LAUNCHER]


def _own() -> list[Component | Launcher]:
    return [component for component in _all() if not os.environ.get(_variable(component))]


def _variable(component: Component | Launcher) -> str:
    return f"WEBLY_IMAGE_{component.name.upper()}"


def _docker(*arguments: str) -> None:
    """Run a docker command, showing its output."""
    try:
        code = subprocess.run(["docker", *arguments]).returncode
    except FileNotFoundError:
        raise UserError("docker: no such command; install Docker (docs.docker.com)") from None
    if code:
        raise UserError(f"docker {arguments[0]} failed with exit code {code}; see its output above")


if __name__ == "__main__":
    main()
