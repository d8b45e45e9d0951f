"""Whether images are where a cluster will look for them."""

import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from components.shared.stage.errors import UserError
from pipelines.cluster.checks import Check
from pipelines.images import has_registry, require_registries

_SECONDS = 30.0
_AT_A_TIME = 8
# As registries and docker word it; a registry that asks for a login may word it so, too.
_ABSENT = ("no such manifest", "manifest unknown", "not found")


def images(references: Sequence[str]) -> Iterator[Check]:
    """Check that images are in their registries, asking these with docker and its logins.

    Args:
        references: The images' full names.
    """
    try:
        require_registries(references)
    except UserError as error:
        yield Check("images", "missing", str(error))
    named = list(filter(has_registry, references))
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        problems = dict(zip(named, pool.map(_problem, named), strict=True))
    absent = [each for each, problem in problems.items() if problem == ""]
    if absent:
        remedy = "python -m pipelines.images build, then push (docker cannot ask one without TLS)"
        yield Check("images", "missing", f"{', '.join(absent)}: {remedy}")
    for problem in dict.fromkeys(filter(None, problems.values())):
        several = [each for each, found in problems.items() if found == problem]
        yield Check(
            "images", "unknown", f"{len(several)}, such as {several[0]}: not checked: {problem}"
        )
    there = [each for each, problem in problems.items() if problem is None]
    if there:
        yield Check("images", "ok", f"{len(there)} of {len(references)} are in their registries")


def _problem(reference: str) -> str | None:
    """Return why an image could not be looked up: empty if it is absent, None if it is there."""
    # As docker itself does, take a registry on this machine that has no TLS.
    local = reference.startswith(("localhost", "127.0.0.1")) * ["--insecure"]
    command = ["docker", "manifest", "inspect", *local, reference]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except FileNotFoundError:
        return "docker: no such command"
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS:.0f} s"
    if ended.returncode == 0:
        return None
    said = ended.stderr.strip()
    return "" if any(words in said for words in _ABSENT) else said.rpartition("\n")[2]
