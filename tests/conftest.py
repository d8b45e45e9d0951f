import inspect
import os
import secrets
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3_proxy import Proxy

SHARED = Path(__file__).parents[2] / "shared"

# Before anything imports torch. More threads than cores spend their time waiting for each other, in
# a training of eighty small steps 26 of 40 s; and the last bits of sums depend on their number.
os.environ["OMP_NUM_THREADS"] = "1"


def _stack(context: int = 1) -> list[inspect.FrameInfo]:
    """Return what `inspect.stack` does, without lines of source.

    KFP's SDK asks it for its caller's name in each call for a task. Where a thousand modules are
    imported, and pytest's calls are above it, looking for the source took most of a compile: 11 s
    of 12.
    """
    frame, found = sys._getframe(1), []
    while frame is not None:
        code = frame.f_code
        where = (code.co_filename, frame.f_lineno, code.co_name)
        found.append(inspect.FrameInfo(frame, *where, code_context=None, index=None))
        frame = frame.f_back
    return found


inspect.stack = _stack
_MARKERS = {"s3_server": "s3", "nltk_data": "slow"}  # by fixture


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes a fixture that makes it slow, or needs a server."""
    for item in items:
        for fixture in _MARKERS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(_MARKERS[fixture])


def _shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}")
    return path


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let commands be interrupted: in a shell's background they would inherit that they are not."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Stages leave what they go on from, and their cache, outside the working tree."""
    os.environ["WEBLY_CHECKPOINTS"] = str(tmp_path_factory.mktemp("checkpoints"))
    os.environ["WEBLY_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def sample() -> Path:
    """Twelve thousand real photographs in the WebVision layout."""
    return _shared("data/webvision-sample")


@pytest.fixture(scope="session")
def photos() -> Path:
    """A tar of 200 real photographs of full size."""
    return _shared("data/photos.tar")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """A program that makes small data sets as people really have them."""
    return _shared("cases")


@pytest.fixture(scope="session")
def nltk_data() -> Path:
    """WordNet and NLTK's English tagger, on NLTK's search path."""
    path = Path(os.environ.get("NLTK_DATA") or _shared("nltk_data"))
    os.environ["NLTK_DATA"] = str(path)
    import nltk

    if str(path) not in nltk.data.path:
        nltk.data.path.insert(0, str(path))
    return path


@pytest.fixture(scope="session")
def s3_server() -> str:
    """The endpoint of a real S3 server, reachable for this process and its children."""
    endpoint = os.environ.get("WEBLY_TEST_S3")
    if not endpoint:
        pytest.skip("needs an S3 server: set WEBLY_TEST_S3")
    return endpoint


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket, as `s3://name`; the environment leads boto3 to its server."""
    import boto3

    keys = {
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secretsecret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server)
    for name, value in keys.items():
        monkeypatch.setenv(name, os.environ.get(name, value))
    made = boto3.resource("s3", endpoint_url=s3_server).Bucket(f"webly-{secrets.token_hex(6)}")
    made.create()
    yield f"s3://{made.name}"
    for upload in made.multipart_uploads.all():
        upload.abort()
    for found in made.objects.all():
        found.delete()
    made.delete()


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder to write to, on this machine and on a real S3 server."""
    if request.param == "local":
        return str(tmp_path / "location")
    bucket: str = request.getfixturevalue("bucket")
    return f"{bucket}/location"


@pytest.fixture
def proxy(bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between this process and the server of `bucket`, from now on."""
    with Proxy(s3_server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
