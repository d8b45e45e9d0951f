import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.shared.stage.errors import StorageError, UserError
from components.shared.stage.parallel import ordered
from components.shared.storage import filesystem, objects, s3
from tests.s3_proxy import Proxy

pytest.importorskip("boto3")

LARGE = random.Random(1).randbytes(12_000_000)
BEGUN = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
ENDED = "<CompleteMultipartUploadResult></CompleteMultipartUploadResult>"
LISTING = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
PAGE = "<html><body>Please log in</body></html>"


class ScriptedServer(ThreadingHTTPServer):
    """Gives prepared answers (status, body), whatever is asked, and notes what was.

    Attributes:
        headers: What each answer has besides; an empty text takes one away.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, str]] = []
        self.requests: list[str] = []
        self.headers: dict[str, str] = {}

    def answer(self, *answers: tuple[int, str]) -> None:
        self.answers += answers


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # clients of 1.0 wait a second before they send a file

    def _answer(self) -> None:
        assert isinstance(self.server, ScriptedServer)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        condition = " if none" if self.headers.get("If-None-Match") == "*" else ""
        self.server.requests.append(f"{self.command} {self.path}{condition}")
        answers = self.server.answers
        status, body = answers.pop(0) if answers else (400, error("Unexpected"))
        self.send_response(status)
        headers = {"ETag": str(len(self.server.requests))}  # never the same
        headers |= {"Content-Length": str(len(body))} | self.server.headers
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body.encode())

    do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secretsecret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def server(keys: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        yield server
        server.shutdown()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBLY_STORAGE_TIMEOUT", "1")


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is uploaded in three parts, as small as S3 has them."""
    monkeypatch.setattr(objects, "_PART", 5 * 2**20)
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    return path


def error(code: str, message: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"


def test_a_forked_process_has_a_client_of_its_own(keys: None) -> None:
    ours = s3._client()
    assert s3._client() is ours
    assert list(ordered(lambda _: s3._client() is ours, [0])) == [False]


def test_a_request_goes_on_by_itself_when_s3_is_back(
    bucket: str, proxy: Proxy, large: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def start_late() -> None:
        while "; retry 2 in " not in caplog.text:
            time.sleep(0.05)
        proxy.start()

    proxy.stop()
    threading.Thread(target=start_late, daemon=True).start()

    filesystem.put(large, f"{bucket}/file")

    assert filesystem.read(f"{bucket}/file") == LARGE
    assert f"{bucket}/file: Could not connect to the endpoint" in caplog.text
    assert "; retry 2 in " in caplog.text


def test_an_s3_that_does_not_come_back_is_given_up(
    bucket: str, proxy: Proxy, large: Path, tmp_path: Path, impatient: None
) -> None:
    filesystem.put(large, f"{bucket}/file")
    proxy.stop()

    for request in (
        lambda: filesystem.fetch(f"{bucket}/file", tmp_path / "folder" / "file"),
        lambda: filesystem.put(large, f"{bucket}/other"),
        lambda: list(filesystem.listed(bucket)),
    ):
        with pytest.raises(StorageError) as raised:
            request()
        for part in (bucket, f"no answer from {proxy.endpoint} for 1 s", "Could not connect"):
            assert part in str(raised.value)
        assert "secret" not in str(raised.value)

    assert list((tmp_path / "folder").iterdir()) == []


def test_an_s3_that_says_nothing_is_given_up(
    keys: None, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

        with pytest.raises(StorageError, match="Read timeout"):
            filesystem.exists("s3://bucket/file")


def test_a_download_that_is_cut_is_completed(
    bucket: str, proxy: Proxy, large: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filesystem.put(large, f"{bucket}/file")
    before = proxy.received
    proxy.cut(after=8_000_000)

    filesystem.fetch(f"{bucket}/file", tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == LARGE
    assert "retry 1" in caplog.text
    assert proxy.received - before > 8_000_000


def test_a_download_that_is_cut_for_good_leaves_nothing(
    bucket: str, proxy: Proxy, large: Path, tmp_path: Path, impatient: None
) -> None:
    filesystem.put(large, f"{bucket}/file")
    proxy.cut(after=8_000_000, for_good=True)

    with pytest.raises(StorageError):
        filesystem.fetch(f"{bucket}/file", tmp_path / "folder" / "file")

    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("bytes", [2_000_000, 12_000_000])
def test_an_upload_that_is_cut_is_completed(
    bucket: str, proxy: Proxy, large: Path, bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    os.truncate(large, bytes)
    proxy.cut(after=bytes // 2)

    filesystem.put(large, f"{bucket}/file")

    assert filesystem.read(f"{bucket}/file") == LARGE[:bytes]
    assert "retry 1" in caplog.text


@pytest.mark.parametrize("bytes", [2_000_000, 12_000_000])
def test_an_upload_that_is_cut_for_good_leaves_nothing(
    bucket: str, proxy: Proxy, large: Path, bytes: int, impatient: None
) -> None:
    os.truncate(large, bytes)
    proxy.cut(after=bytes // 2, for_good=True)

    with pytest.raises(StorageError):
        filesystem.put(large, f"{bucket}/file")

    proxy.start()
    assert list(filesystem.listed(bucket)) == []


def test_a_failed_upload_is_aborted(
    bucket: str, large: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setattr(objects, "_PART", 2**20)  # less than S3 takes, as it says at the end

    with pytest.raises(UserError, match="EntityTooSmall"):
        filesystem.put(large, f"{bucket}/file")

    client = boto3.client("s3", endpoint_url=s3_server)
    found = client.list_multipart_uploads(Bucket=bucket.removeprefix("s3://"))
    assert found.get("Uploads", []) == []


def test_an_upload_whose_end_was_answered_in_vain_is_made_again(
    server: ScriptedServer, large: Path
) -> None:
    os.truncate(large, objects._PART + 1)
    begun = (200, BEGUN)
    server.answer(begun, (200, ""), (200, ""), (503, error("SlowDown")))
    server.answer((404, error("NoSuchUpload")), (404, error("NoSuchUpload")))  # of the abort
    server.answer(begun, (200, ""), (200, ""), (200, ENDED))

    filesystem.put(large, "s3://bucket/file")

    assert server.requests.count("POST /bucket/file?uploads") == 2
    assert server.answers == []


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (500, "InternalError"),
        (503, "SlowDown"),
        (429, "x"),
        (400, "RequestTimeout"),
        (400, "BadDigest"),
        (400, "XAmzContentSHA256Mismatch"),
        (409, "OperationAborted"),
    ],
)
def test_a_server_that_is_busy_is_asked_again(
    server: ScriptedServer, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer((status, error(code, "later")), (204, ""))

    filesystem.remove("s3://bucket/file")

    assert f"s3://bucket/file: DeleteObject got {code} (later); retry 1 in " in caplog.text


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "AccessDenied", "check AWS_ENDPOINT_URL"),
        (404, "NoSuchBucket", "no bucket bucket at http://127.0.0.1:"),
        (400, "InvalidRequest", "AWS_DEFAULT_REGION"),
    ],
)
def test_what_asking_again_cannot_help_is_said_at_once(
    server: ScriptedServer, status: int, code: str, remedy: str
) -> None:
    server.answer((status, error(code)))

    with pytest.raises(UserError, match=f"s3://bucket/file: .*{remedy}"):
        filesystem.read("s3://bucket/file")

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (400, "ExpiredToken", "keys have run out: renew .*AWS_SESSION_TOKEN"),
        (400, "InvalidToken", "AWS_SESSION_TOKEN"),
        (400, "TokenRefreshRequired", "AWS_SESSION_TOKEN"),
        (403, "RequestTimeTooSkewed", "clock is off: synchronize it"),
        (403, "QuotaExceeded", "the store is full: free space"),
        (507, "XMinioStorageFull", "the store is full: free space"),
    ],
)
@pytest.mark.parametrize("request_", [filesystem.read, filesystem.exists, filesystem.remove])
def test_what_may_be_right_at_the_next_try_says_so(
    server: ScriptedServer,
    status: int,
    code: str,
    remedy: str,
    request_: Callable[[str], object],
) -> None:
    server.answer((status, error(code)))

    with pytest.raises(StorageError, match=f"s3://bucket/file: .*{code}.*: .*{remedy}"):
        request_("s3://bucket/file")

    assert len(server.requests) == 1


FOREIGN = {
    "a login page": (200, PAGE, {"Content-Type": "text/html; charset=utf-8"}),
    "a page of a site with ETags": (206, PAGE, {"Content-Type": "text/html", "ETag": '"5f-1"'}),
    "a page that is not there": (404, PAGE, {"Content-Type": "text/html"}),
    "one that is forbidden": (403, PAGE, {"Content-Type": "text/html"}),
    "an empty 404": (404, "", {}),
    "another API's answer": (200, '{"a": 1}', {"Content-Type": "application/json"}),
    "another API's refusal": (404, '{"a": 1}', {"Content-Type": "application/json"}),
    "a redirect": (302, "", {"Location": "https://sso.example/login"}),
    "a lasting redirect": (301, PAGE, {"Location": "/login", "Content-Type": "text/html"}),
    "a temporary redirect": (307, "", {"Location": "/login"}),
    "other XML": (200, "<R/>", {"Content-Type": "application/xml"}),
    "nothing": (200, "", {}),
}


@pytest.fixture(params=FOREIGN.values(), ids=FOREIGN.keys())
def foreign(request: pytest.FixtureRequest, server: ScriptedServer) -> ScriptedServer:
    """A server that is no S3."""
    status, body, headers = request.param
    server.headers = {"ETag": ""} | headers
    server.answer(*[(status, body)] * 20)
    return server


@pytest.fixture(params=["exists", "read", "list", "put", "put in parts", "fetch"])
def asked(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], object]:
    """Something that is asked of S3."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_text("x")
    large.write_bytes(LARGE)
    os.truncate(large, objects._PART + 1) if request.param == "put in parts" else None
    uri = "s3://bucket/file"
    asked: dict[str, Callable[[], object]] = {
        "exists": lambda: filesystem.exists(uri),
        "read": lambda: filesystem.read(uri),
        "list": lambda: list(filesystem.listed(uri)),
        "put": lambda: filesystem.put(small, uri),
        "put in parts": lambda: filesystem.put(large, uri),
        "fetch": lambda: filesystem.fetch(uri, tmp_path / "back"),
    }
    return asked[request.param]


def test_what_is_no_s3_is_said_at_once(
    foreign: ScriptedServer, asked: Callable[[], object], impatient: None
) -> None:
    with pytest.raises(UserError) as raised:
        asked()

    message = str(raised.value)
    assert "s3://bucket/file" in message
    assert f"what answers at http://127.0.0.1:{foreign.server_port} is no S3: " in message
    assert message.endswith(": check AWS_ENDPOINT_URL")
    assert "\n" not in message
    assert len(foreign.requests) == 1


def test_a_page_in_place_of_an_s3_that_was_there_goes_away(
    server: ScriptedServer, asked: Callable[[], object], impatient: None
) -> None:
    server.answer((200, LISTING))
    assert list(filesystem.listed("s3://bucket/file")) == []
    server.headers = {"Content-Type": "text/html"}
    server.answer(*[(200, PAGE)] * 20)

    with pytest.raises(StorageError, match="no answer from .* for 1 s: .* 200, of type text/html"):
        asked()

    assert len(server.requests) > 2


def test_a_page_may_be_an_object(server: ScriptedServer) -> None:
    server.headers = {"Content-Type": "text/html", "x-amz-request-id": "1"}
    server.answer((200, PAGE))

    assert filesystem.read("s3://bucket/page.html") == PAGE.encode()


def test_what_is_written_may_be_answered_by_an_empty_page(
    server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    server.headers = {"Content-Type": "text/html"}  # moto's; of a few servers
    server.answer((200, ""))

    filesystem.put(tmp_path / "file", "s3://bucket/file")

    assert len(server.requests) == 1


SHORT = {  # Content-Range and body, for bytes 3 to 6 of ten
    "cut": ("bytes 3-6/10", "345"),
    "empty": ("bytes 3-6/10", ""),
    "less than asked for": ("bytes 3-4/10", "34"),
    "more than asked for": ("bytes 3-9/10", "3456789"),
    "of elsewhere": ("bytes 0-3/10", "0123"),
    "of unknown length": ("bytes 3-6/*", "3456"),
}


@pytest.mark.parametrize(("said", "body"), SHORT.values(), ids=SHORT.keys())
def test_a_body_that_is_not_what_was_asked_for_is_asked_for_again(
    server: ScriptedServer, said: str, body: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.headers = {"Content-Range": said}
    server.answer((206, body))
    threading.Thread(target=_restore, args=(server,), daemon=True).start()

    assert filesystem.read("s3://bucket/file", 3, 4) == b"3456"
    assert "s3://bucket/file: " in caplog.text and "; retry 1 in " in caplog.text


def _restore(server: ScriptedServer) -> None:
    while not server.requests:
        time.sleep(0.001)
    time.sleep(0.05)  # the answer is under way; the first retry comes later
    server.headers = {"Content-Range": "bytes 3-6/10"}
    server.answer((206, "3456"))


def test_a_body_that_is_always_short_is_no_answer(server: ScriptedServer, impatient: None) -> None:
    server.headers = {"Content-Range": "bytes 0-9/10"}
    server.answer(*[(206, "01234")] * 20)

    with pytest.raises(StorageError, match="s3://bucket/file: .* 5 bytes in place of 10"):
        filesystem.read("s3://bucket/file")


def test_the_last_bytes_may_be_fewer_than_asked_for(server: ScriptedServer) -> None:
    server.headers = {"Content-Range": "bytes 8-9/10"}
    server.answer((206, "89"))

    assert filesystem.read("s3://bucket/file", 8, 100) == b"89"


def test_a_listing_that_is_cut_is_asked_for_again(server: ScriptedServer) -> None:
    server.answer((200, LISTING[:-20]), (200, LISTING))

    assert list(filesystem.listed("s3://bucket/folder")) == []


def test_keys_that_are_no_paths_are_left_out_of_a_listing(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    odd = ["a//b", "../c", "d/./e", "/f", "g/../h"]
    keys = "".join(f"<Contents><Key>x/{key}</Key><Size>1</Size></Contents>" for key in ["a", *odd])
    listing = LISTING.replace("</IsTruncated>", f"</IsTruncated>{keys}")
    server.answer((200, listing), (200, listing))

    assert list(filesystem.listed("s3://bucket/x")) == [("a", 1)]
    assert "s3://bucket/x/a//b: left out" in caplog.text
    assert "5 such keys" in caplog.text
    found: list[str] = []
    assert list(filesystem.listed("s3://bucket/x", pathless=found.append)) == [("a", 1)]
    assert found == odd


def test_a_condition_that_the_server_does_not_know_is_left_out(
    server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server.answer((404, error("NoSuchKey")), (501, error("NotImplemented")), (200, ""))

    filesystem.put(tmp_path / "file", "s3://bucket/file", if_absent=True)

    assert server.requests == [
        "GET /bucket/file",
        "PUT /bucket/file if none",
        "PUT /bucket/file",
    ]


def test_an_upload_whose_end_was_answered_in_vain_stays_if_so_wanted(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PART", 3)
    (tmp_path / "file").write_bytes(b"four")
    server.answer((404, error("NoSuchKey")), (200, BEGUN), (200, ""), (200, ""))
    server.answer((500, error("InternalError")), (404, error("NoSuchUpload")), (204, ""), (200, ""))

    filesystem.put(tmp_path / "file", "s3://bucket/file", if_absent=True)

    methods = [request.split(" ")[0] for request in server.requests]
    assert methods == ["GET", "POST", "PUT", "PUT", "POST", "POST", "DELETE", "GET"]


@pytest.mark.parametrize(
    ("status", "code"), [(403, "AccessDenied"), (405, "MethodNotAllowed"), (501, "NotImplemented")]
)
def test_uploads_that_may_not_be_listed_are_left(
    server: ScriptedServer, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer((status, error(code)))
    filesystem.abandon_uploads("s3://bucket/folder")
    assert f"unfinished uploads remain: s3://bucket/folder: ListMultipartUploads got {code}" in (
        caplog.text
    )


def test_other_requests_are_not_made_again_after_a_failure(server: ScriptedServer) -> None:
    busy, refused = (503, error("SlowDown")), (403, error("AccessDenied"))
    first = threading.Event()

    def delete(number: int) -> None:
        if number == 1:
            assert first.wait(60)
            time.sleep(0.1)  # the other waits before it asks again
        first.set()
        filesystem.remove(f"s3://bucket/{number}")

    server.answer(busy, refused)
    began = time.monotonic()
    with pytest.raises(UserError, match="AccessDenied"):
        objects._in_parallel(delete, range(2))
    assert len(server.requests) == 2
    assert time.monotonic() - began < 10


def test_a_page_of_a_listing_may_be_empty(server: ScriptedServer) -> None:
    page = "<ListBucketResult><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"
    token = "<NextContinuationToken>next</NextContinuationToken>"
    key = "<Contents><Key>folder/{}</Key><Size>1</Size></Contents>"
    server.answer(
        (200, page.format("true", token + key.format("a"))),
        (200, page.format("true", token)),
        (200, page.format("false", key.format("b"))),
    )

    assert list(filesystem.listed("s3://bucket/folder")) == [("a", 1), ("b", 1)]
    assert ["=next" in request for request in server.requests] == [False, True, True]


def test_a_server_may_give_more_than_was_asked_for(server: ScriptedServer) -> None:
    server.answer((200, "0123456789"))

    assert filesystem.read("s3://bucket/file", 3, 4) == b"3456"


def test_a_file_that_changes_while_it_is_fetched_is_no_mixture(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_PART", 5)
    server.answer((200, "0123456789"), (200, "0123456789"))

    with pytest.raises(UserError, match="s3://bucket/file: changed while it was read"):
        filesystem.fetch("s3://bucket/file", tmp_path / "folder" / "file")

    assert list((tmp_path / "folder").iterdir()) == []


def test_nothing_more_is_begun_after_a_failure(server: ScriptedServer) -> None:
    keys = "".join(
        f"<Contents><Key>x/{number}</Key><Size>1</Size></Contents>" for number in range(500)
    )
    listing = f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>"
    server.answer((200, listing), (403, error("AccessDenied")), *[(204, "")] * 499)

    with pytest.raises(UserError, match="AccessDenied"):
        filesystem.remove_folder("s3://bucket/x")

    assert len(server.answers) > 0


def test_wrong_keys_are_named_but_not_shown(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")  # the proxy's endpoint is a new one

    with pytest.raises(UserError, match="SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY") as raised:
        filesystem.read(f"{bucket}/file")

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("AWS_SECRET_ACCESS_KEY", "hidden\n", "AWS_SECRET_ACCESS_KEY begins or ends with white"),
        ("AWS_SESSION_TOKEN", "hidden\n", "AWS_SESSION_TOKEN begins or ends with white"),
        ("AWS_ENDPOINT_URL", "minio:9000", "minio:9000: check AWS_ENDPOINT_URL"),
        ("AWS_ENDPOINT_URL", "http://user:hidden@minio:9000", "URL contains credentials"),
        ("AWS_ENDPOINT_URL_S3", "http://user:hidden@minio:9000", "URL contains credentials"),
    ],
)
def test_settings_that_cannot_be_are_named(
    server: ScriptedServer, name: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    with pytest.raises(UserError, match=message) as raised:
        filesystem.exists("s3://bucket/file")

    assert "hidden" not in str(raised.value)


def test_missing_keys_are_named(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    with pytest.raises(UserError, match="credentials: check .*AWS_ACCESS_KEY_ID"):
        filesystem.exists("s3://bucket/file")


@pytest.mark.parametrize("uri", ["s3://", "s3://bucket", "s3://bucket/"])
def test_a_bucket_is_no_file(keys: None, uri: str) -> None:
    with pytest.raises(UserError, match="use s3://bucket/key"):
        filesystem.read(uri)
