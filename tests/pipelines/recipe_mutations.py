"""Damages recipes and settings at random: each is read, or refused in a few lines.

    python -m tests.pipelines.recipe_mutations 20000 [SEED]

Prints how many were read or refused, and the slowest; stops at the first that ends in another error
or takes too long, which it leaves in a file.
"""

import copy
import datetime
import faulthandler
import json
import math
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from components.shared.stage.errors import UserError
from pipelines.compile import compile_recipe
from pipelines.pretraining import pretraining
from pipelines.recipe import load
from pipelines.recipe_files import FOLDER, SECTIONS
from pipelines.steps import STEPS

MOST_SECONDS = 30.0  # of CPU, for one recipe
_LARGEST = "ablation-noise-drawn"
_MOST_COMPILED = 15  # tasks of a recipe that is also compiled; others take seconds
_TOKENS: list[bytes] = [
    *(b"[", b"]", b"{", b"}", b":", b"- ", b"? ", b"&a ", b"*a", b"*wt", b"<<: "),
    *(b"!!python/none ", b"!!str ", b"!!binary ", b"---\n", b"...\n", b"%YAML 9.9\n", b"\t", b"\n"),
    *(b"\r", b"\0", b"#", b"'", b'"', b"|\n", b">\n", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"~", b"null", b"true", b"no", b".nan", b".inf", b"1e999", b"0x_", b"0b_", b"1:60:99", b"="),
    *(b"2020-99-99", b"2020-01-01", b"9" * 400, b"9" * 5_000, b"-1", b"1.0e+400", b"\xd9\xa1"),
    *(b"[" * 3_000, b"{a: " * 3_000, b"x" * 90_000, b"\\ud800", b"{{$}}", b"\xe9"),
    *(b"{{channel:task=;name=a;}}", b"\xe2\x80\xa8"),
]  # fmt: skip
_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 5, 2**31, 2**63, 10**400, -(10**400), 0.5, 1e300, math.nan),
    *(math.inf, "", " ", "-", "---", "a", "a b", "a\nb", "a\0b", "٣", "1e5", "1_0", "none", "{}"),
    *("s3://", "s3://b/p", "gs://b", "/", "..", "x" * 40_000, "{{$}}", "{{channel:task=;name=a;}}"),
    *([], [1], [[]], [None], ["wt", "wt"], {}, {"a": 1}, {"a": {"b": math.nan}}, "hf-hub:a/b"),
    *(datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1), b"bytes", [list(range(3_000))]),
]  # fmt: skip
_KEYS = [
    *(*STEPS, *SECTIONS, 1, None, True, "backbone", "pretraining", "backbone_args", "variant"),
    *("initial_weights", "epochs", "gpus", "cpu", "memory", "tolerations", "node_selector"),
    *("image_size", "batch_size"),
]


def sources() -> dict[str, bytes]:
    """Return the recipes by their names."""
    return {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.yaml"))}


def _damaged(content: bytes, random: np.random.Generator) -> bytes:
    """Return a text with a few of its bytes replaced, repeated or removed."""
    changed = bytearray(content)
    for _ in range(random.integers(1, 3)):
        start = int(random.integers(len(changed) + 1))
        end = min(len(changed), start + int(random.integers(0, 20)))
        match random.integers(5):
            case 0 | 1:
                changed[start:end] = _TOKENS[random.integers(len(_TOKENS))]
            case 2:
                changed[start:start] = changed[start:end]
            case 3:
                changed[start:end] = random.bytes(end - start)
            case 4:
                del changed[start:end]
    return bytes(changed)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each mapping and list in a value, with each of its keys."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _rebuilt(content: bytes, random: np.random.Generator) -> bytes:
    """Return a recipe with a few values of another type or range, or in another place."""
    recipe = copy.deepcopy(yaml.safe_load(content))  # without aliases
    for _ in range(random.integers(1, 3)):
        places = list(_places(recipe))
        holder, key = places[random.integers(len(places))]
        odd = copy.deepcopy(_VALUES[random.integers(len(_VALUES))])
        match random.integers(5):
            case 0 | 1:
                holder[key] = odd
            case 2:
                del holder[key]
            case 3 if isinstance(holder, dict):
                holder[_KEYS[random.integers(len(_KEYS))]] = odd
            case _:
                other, place = places[random.integers(len(places))]
                if other is not holder:
                    holder[key] = copy.deepcopy(other[place])
        if not isinstance(recipe, dict) or not recipe:
            break
    return yaml.safe_dump(recipe, allow_unicode=bool(random.integers(2))).encode()


def _setting(random: np.random.Generator) -> str:
    """Return an argument of --set."""
    step = str(random.choice(list(STEPS)))
    known = [*STEPS[step].arguments(), "seeds", ""]
    name = f"{step}.{known[random.integers(len(known))]}" if random.random() < 0.8 else step
    value = _VALUES[random.integers(len(_VALUES))]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    given = _damaged(f"{name}={text}".encode(), random) if random.random() < 0.3 else None
    return given.decode("utf-8", "surrogateescape") if given else f"{name}={text}"


def check(path: Path, settings: list[str], *, compiles: bool) -> str:
    """Return what becomes of a recipe; one of few tasks that can be read is compiled, if asked to.

    Raises:
        Exception: Other than a UserError.
    """
    try:
        recipe = load(str(path), settings)
    except UserError as error:
        lines = str(error).splitlines()
        assert len(lines) <= 25, error
        assert max(map(len, lines)) < 2_500, error
        return "refused"
    if compiles and len(pretraining(recipe)) <= _MOST_COMPILED:
        compile_recipe(recipe, path.with_name("compiled.yaml"))
        return "read and compiled"
    return "read"


def run(folder: Path, count: int, seed: int) -> tuple[Counter[str], float]:
    """Return the outcomes of so many damaged recipes, and the slowest's seconds of CPU."""
    faulthandler.register(signal.SIGVTALRM, chain=True)  # which then ends the process
    random, originals = np.random.default_rng(seed), sources()
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    path = folder / "recipe.yaml"
    for _ in range(count):
        name = str(random.choice(list(originals)))
        if name == _LARGEST and random.random() < 0.9:  # which takes a second
            name = "smoke"
        settings: list[str] = []
        match random.integers(3):
            case 0:
                content = _damaged(originals[name], random)
            case 1:
                content = _rebuilt(originals[name], random)
            case 2:
                content = originals[name]
                settings = [_setting(random) for _ in range(random.integers(1, 3))]
        path.write_bytes(content)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
        try:
            outcomes[check(path, settings, compiles=random.random() < 0.1)] += 1
        except Exception:
            failed = Path(tempfile.gettempdir()) / "failed-recipe.yaml"
            failed.write_bytes(content)
            print(f"{failed}: {settings}, after {outcomes.total():,} recipes, seed {seed}")
            raise
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        slowest = max(slowest, time.process_time() - start)
    return outcomes, slowest


def main(count: int, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcomes, slowest = run(Path(folder), count, seed)
    for outcome, number in sorted(outcomes.items()):
        print(f"{outcome:20} {number:7,}")
    print(f"{outcomes.total():,} recipes; the slowest took {slowest:.2f} s of CPU")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else 0)
