import os
import sys

import pytest

from components.shared.stage.standard_error import captured


def test_what_is_written_in_a_block_is_had_as_lines(capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        with captured() as lines:
            os.write(2, b"from C: %d\n" % number)
            print("from Python", file=sys.__stderr__, flush=True)
        assert lines == [f"from C: {number}", "from Python"]
    os.write(2, b"afterwards\n")

    assert capfd.readouterr().err == "afterwards\n"


def test_a_forked_process_has_lines_of_its_own() -> None:
    with captured():
        pass
    process = os.fork()
    if not process:
        with captured() as lines:
            os.write(2, b"in the child\n")
        os._exit(0 if lines == ["in the child"] else 1)
    with captured() as lines:
        os.waitpid(process, 0)

    assert lines == []


def test_a_block_that_raises_gives_the_standard_error_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="wrong"), captured():
        raise ValueError("wrong")
    os.write(2, b"afterwards\n")

    assert capfd.readouterr().err == "afterwards\n"
