import io
import logging
import os
import subprocess
import sys

import pytest

from pipelines.run import terminal


def test_a_line_is_broken_at_words_under_the_text_behind_its_label() -> None:
    line = "classes     9, with training images: class0 1, class1 2"

    assert list(terminal.wrapped(line, 40)) == [
        "classes     9, with training images:",
        "            class0 1, class1 2",
    ]


def test_without_a_label_it_goes_on_two_columns_in() -> None:
    assert list(terminal.wrapped("  one two three four", 12)) == [
        "  one two",
        "    three",
        "    four",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "short",
        "",
        "| a row | of a table | that is wide |",
        "say python -m pipelines.predict runs/x/best to go on",
        "(full log: /a/path/that/is/longer/than/the/line)",
    ],
)
def test_what_people_copy_stays_whole(line: str) -> None:
    assert list(terminal.wrapped(line, 30)) == [line]


@pytest.mark.parametrize(
    ("text", "short"), [("finetune", "finetune"), ("finetune-large-a", "fine…ge-a")]
)
def test_a_name_is_shortened_in_its_middle(text: str, short: str) -> None:
    shortened = terminal.shortened(text, 9)

    assert shortened == short


def test_only_this_project_is_heard() -> None:
    code = """
import logging, sys
from pipelines.run import terminal
terminal.log_here(sys.stderr)
logging.getLogger("pipelines.x").info("a word " * 20)
logging.getLogger("components.x").warning("ours")
logging.getLogger("timm").warning("theirs")
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    lines = ended.stderr.splitlines()
    assert lines[-1] == "ours"
    assert max(map(len, lines)) <= 80
    assert len(lines) == 3


def test_a_message_of_several_lines_is_formatted_line_by_line() -> None:
    record = logging.LogRecord("pipelines", logging.INFO, "", 0, "one\ntwo", (), None)

    assert terminal.Fitting(io.StringIO()).format(record) == "one\ntwo"


@pytest.mark.parametrize("module", ["local", "clean"])
def test_help_imports_nothing_slow(module: str) -> None:
    code = f"""
import sys
from pipelines.{module} import main
try:
    main(["--help"])
except SystemExit:
    assert not {{"kfp", "torch", "timm", "pyarrow", "numpy"}} & sys.modules.keys(), "slow"
"""
    subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=os.environ
    )
