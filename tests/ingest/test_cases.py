"""The data sets of `../shared/cases`, if they are there: none is read as something else."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.ingest import survey
from components.shared.stage.errors import UserError

UNDERSTOOD = {
    "kaggle": ["labels in train.csv, column label", "0 2, 1 2", "test        2 images"],
    "capital-splits": ["Train/ is train; Val/ is validation", "cat 4, dog 4"],
    "images-folder": ["a folder per class in images/", "cat 4, dog 4"],
    "system-folders": ["cat 2, dog 2", "@eaDir, __MACOSX"],
    "link-to-itself": ["cat 2, dog 2"],
    "odd-blank-in-a-name": ["cat 2, dog 2, ice\u3000cream 2"],
    "jpegs-by-other-names": ["cat 2, dog 2"],
    "metadata-jsonl": ["cat 3, dog 3", "2 of 2 rows of metadata.jsonl belong to images"],
    "captions-with-a-number-for-id": ["2 of 2 rows of captions.csv belong to images"],
    "captions-with-blanks-in-the-header": ["1 of 1 rows of captions.csv", "title as title"],
    "captions-with-a-bad-line": ["2 of 2 rows of captions.jsonl", "1 × repaired record"],
    "captions-with-an-open-quote": ["2 of 3 rows of captions.csv", "line 2: a quote is opened"],
    "captions-with-keywords": ["2 of 2 rows of captions.csv", "keywords as tags"],
}
REFUSED = {
    "coco": "train2017/: 4 images, but no folders of classes",
    "captions-that-do-not-fit": "0 of 3 rows of captions.csv belong to images",
}


def _made(shared_cases: Path, name: str, folder: Path) -> str:
    command = [sys.executable, str(shared_cases / "make.py"), name, str(folder / name)]
    subprocess.run(command, check=True)
    return str(folder / name)


@pytest.mark.slow
@pytest.mark.parametrize("name", UNDERSTOOD)
def test_a_case_is_understood(shared_cases: Path, tmp_path: Path, name: str) -> None:
    lines = "\n".join(survey.survey(_made(shared_cases, name, tmp_path), validation_share=0))

    assert [each for each in UNDERSTOOD[name] if each not in lines] == [], lines


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_case_is_refused(shared_cases: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name]):
        survey.survey(_made(shared_cases, name, tmp_path))
