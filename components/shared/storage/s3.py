"""Requests to S3: one client per process, with retries up to a timeout.

Endpoint, region and credentials come from the environment as boto3 reads it (`AWS_ENDPOINT_URL`,
`AWS_ACCESS_KEY_ID`, …). boto3 is imported by the first request: runs without S3 save 0.3 s and do
not need it.
"""

import contextlib
import errno
import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from components.shared.stage import environment, retry
from components.shared.stage.errors import StorageError, UserError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from botocore.model import OperationModel
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SETTINGS = f"check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, {' and '.join(_SECRETS[:2])}"
# What Amazon's, MinIO's and Ceph's codes mean where their HTTP status does not say it.
_AGAIN, _RENEW = "ask again", f"the temporary keys have run out: renew {', '.join(_SECRETS)}"
_CLOCK = "this machine's clock is off: synchronize it (NTP)"
_FULL = "the store is full: free space there, or have its quota raised"
# Else the remedy of what may be right when the stage is tried again: elsewhere, with new keys, …
_CODES = {
    "BadDigest": _AGAIN,  # what arrived is not what was sent
    "BandwidthLimitExceeded": _AGAIN,
    "ConditionalRequestConflict": _AGAIN,  # another conditional write of the same object
    "ExpiredToken": _RENEW,
    "ExpiredTokenException": _RENEW,
    "IncompleteBody": _AGAIN,
    "InvalidToken": _RENEW,
    "InvalidTokenId": _RENEW,  # MinIO's
    "OperationAborted": _AGAIN,
    "QuotaExceeded": _FULL,  # Ceph's
    "RequestExpired": _CLOCK,
    "RequestLimitExceeded": _AGAIN,
    "RequestTimeTooSkewed": _CLOCK,
    "RequestTimeout": _AGAIN,
    "SlowDown": _AGAIN,
    "Throttling": _AGAIN,
    "ThrottlingException": _AGAIN,
    "TokenRefreshRequired": _RENEW,
    "XAmzContentSHA256Mismatch": _AGAIN,
    "XMinioAdminBucketQuotaExceeded": _FULL,
    "XMinioStorageFull": _FULL,
}
# What an answer of S3's has in its body, else, if it is of an object, an ETag.
_ELEMENTS = {
    "ListObjectsV2": b"ListBucketResult",
    "ListMultipartUploads": b"ListMultipartUploadsResult",
    "CreateMultipartUpload": b"InitiateMultipartUploadResult",
    "CompleteMultipartUpload": b"CompleteMultipartUploadResult",
}
_ERROR = b"Error>"
_WRITES = ("PutObject", "UploadPart")
_OF_OBJECTS = ("GetObject", *_WRITES)
_PAGES = ("text/html", "application/json")
# Once set, requests in this context are not retried: nobody needs their results any more.
stop: ContextVar[threading.Event] = ContextVar("stop")
_NEVER = threading.Event()
_found = set[str]()  # endpoints where S3 has answered this process or its parents


class BrokenError(Exception):
    """An answer that may be whole when it is asked for again; its text says what is wrong."""


class _ForeignError(Exception):
    """An answer that is not S3's; its text says what it is."""


class RefusedError(Exception):
    """An error for the caller to handle, because of the request's condition or range.

    Its arguments are a status, 412, 416, or 501 for what the server does not implement, and a text.
    """

    @property
    def status(self) -> int:
        """Return the HTTP status."""
        status: int = self.args[0]
        return status

    def __str__(self) -> str:
        """Return the text."""
        return str(self.args[1])


def split(uri: str) -> tuple[str, str]:
    """Return the bucket and the key, which may be empty."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise UserError(f"{uri}: no bucket: use s3://bucket/key")
    return bucket, key


def ask(uri: str, request: Callable[["S3Client"], Answer]) -> Answer:
    """Return a request's result, retrying with backoff while S3 cannot answer.

    Raises:
        StorageError: It could not for `WEBLY_STORAGE_TIMEOUT` seconds after its first failure, or
            it will not before keys, a clock or space are put right.
        UserError: It never will: no credentials, no permission, no bucket, no S3.
        FileNotFoundError: There is no such object.
        RefusedError: A condition does not hold, or a range lies outside the object.
    """
    patience, retries = environment.storage_timeout(), 0
    pauses = retry.pauses(patience, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
    while True:
        try:
            return request(_client())
        except _errors() as error:
            if not _transient(error):
                raise _final(uri, error) from error
            pause = next(pauses, None)
            if pause is None:
                raise StorageError(
                    f"{uri}: no answer from {_endpoint()} for {patience:.0f} s: {_text(error)}"
                ) from error
            retries += 1
            logger.warning("%s: %s; retry %d in %.1f s", uri, _text(error), retries, pause)
        if stop.get(_NEVER).wait(pause):
            raise StorageError(f"{uri}: cancelled because another request failed")


def attempt(request: Callable[["S3Client"], object]) -> None:
    """Make a request without retries; whatever comes of it."""
    with contextlib.suppress(*_errors()):
        request(_client())


def _errors() -> tuple[type[Exception], ...]:
    """Return what a request may raise because of the answer, or of none."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    return (
        BotoCoreError,
        ClientError,
        HTTPError,
        ResponseParserError,
        BrokenError,
        _ForeignError,
    )


def _transient(error: Exception) -> bool:
    from botocore import exceptions
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    if isinstance(error, exceptions.ClientError):
        status, remedy = _status(error), _CODES.get(_code(error))
        return remedy == _AGAIN or (remedy is None and _is_busy(status))
    if isinstance(error, _ForeignError):  # a gateway's page, if there was S3 before
        return _endpoint() in _found
    if isinstance(error, exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return isinstance(
        error,
        (
            exceptions.ConnectionError,
            exceptions.CredentialRetrievalError,  # of keys that a service renews
            exceptions.MetadataRetrievalError,
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
            HTTPError,
            ResponseParserError,  # XML that is cut
            BrokenError,
        ),
    )


def _is_busy(status: int) -> bool:
    return status in (408, 429) or (status >= 500 and status != 501)


def _final(uri: str, error: Exception) -> Exception:
    """Return what to raise for an error that retries cannot fix."""
    from botocore import exceptions

    if isinstance(error, _ForeignError):
        return UserError(
            f"{uri}: what answers at {_endpoint()} is no S3: {error}: check AWS_ENDPOINT_URL"
        )
    if isinstance(error, exceptions.SSLError):
        return UserError(f"{uri}: {error}: set AWS_CA_BUNDLE to the authority's certificate")
    if not isinstance(error, exceptions.ClientError):
        return UserError(f"{uri}: {error}: {_SETTINGS}")
    status, code = _status(error), _code(error)
    if remedy := _CODES.get(code):
        return StorageError(f"{uri}: {_text(error)}: {remedy}")
    if code == "NoSuchBucket":
        return UserError(f"{uri}: no bucket {split(uri)[0]} at {_endpoint()}: create it first")
    if code == "NotImplemented":
        status = 501
    if status == 404:
        return FileNotFoundError(errno.ENOENT, "No such object", uri)
    if status in (412, 416, 501):
        return RefusedError(status, f"{uri}: {_text(error)}")
    return UserError(f"{uri}: {_text(error)}: {_SETTINGS}, and these keys' permissions")


def _status(error: "ClientError") -> int:
    return error.response["ResponseMetadata"]["HTTPStatusCode"]


def _code(error: "ClientError") -> str:
    return error.response["Error"].get("Code", "")


def _text(error: Exception) -> str:
    """Return the error without the count of boto3's own retries, which are off."""
    from botocore.exceptions import ClientError

    if not isinstance(error, ClientError):
        return str(error)
    message = error.response["Error"].get("Message")
    return f"{error.operation_name} got {_code(error)}" + (f" ({message})" if message else "")


def _refuse_foreign(
    response_dict: Mapping[str, Any], operation_model: "OperationModel", **others: object
) -> None:
    """Raise for an answer that is not S3's, before botocore reads it.

    Another program's 404 would say that there is no such object, its redirect has botocore ask on
    and on, and its page may be taken for an object.
    """
    status, headers, body = (response_dict[name] for name in ("status_code", "headers", "body"))
    if _is_busy(status):  # whoever says so: a gateway in front of S3 does in HTML
        return
    operation, kind = operation_model.name, headers.get("Content-Type", "").partition(";")[0]
    if status >= 300:
        is_s3s = _ERROR in body
    elif operation in _ELEMENTS:
        is_s3s = _ELEMENTS[operation] in body or _ERROR in body
    else:
        # An object may be a page; then it comes with headers that only S3 sends. What is written is
        # answered with a page by others, and by nothing, of any type, by S3.
        is_page = kind in _PAGES and not any(name.lower().startswith("x-amz-") for name in headers)
        is_page &= operation not in _WRITES or bool(body)
        is_s3s = not is_page and (operation not in _OF_OBJECTS or "ETag" in headers)
    if not is_s3s:
        to = f", a redirect to {headers['Location']}" if "Location" in headers else ""
        what = f"of type {kind}" if kind else "of no type"
        raise _ForeignError(f"{operation} got {status}{to}, {what}")
    _found.add(_endpoint())


def _endpoint() -> str:
    return _client().meta.endpoint_url


def _client() -> "S3Client":
    return _client_of(
        os.getpid(), os.environ.get("AWS_ENDPOINT_URL", ""), environment.storage_timeout()
    )


@functools.cache
def _client_of(process: int, endpoint: str, timeout: float) -> "S3Client":
    """Return a process's client: a forked process must not share its parent's connections."""
    import boto3
    from botocore.config import Config

    for name in _SECRETS:  # a signature would not match, or a header show the secret in its error
        if os.environ.get(name, "") != os.environ.get(name, "").strip():
            raise UserError(f"{name} begins or ends with white space: remove it")
    # It logs where each process found its credentials, and at DEBUG the token in the headers.
    logging.getLogger("botocore").setLevel(logging.WARNING)
    config = Config(
        connect_timeout=min(10.0, timeout / 3),
        read_timeout=min(60.0, timeout / 3),
        max_pool_connections=32,
        retries={"total_max_attempts": 1},  # `ask` retries, and says so
        request_checksum_calculation="when_required",  # not all servers support Amazon's newer ones
        response_checksum_validation="when_required",
        tcp_keepalive=True,
    )
    try:
        # A session of its own: boto3's default one is not thread-safe.
        client = boto3.session.Session().client("s3", config=config)
    except ValueError as error:
        raise UserError(
            f"{error}: check AWS_ENDPOINT_URL (http://host:port) and AWS_DEFAULT_REGION"
        ) from error
    if "@" in client.meta.endpoint_url:  # messages name the endpoint, whichever variable it is from
        raise UserError("the endpoint's URL contains credentials: set AWS_ACCESS_KEY_ID instead")
    # Called before botocore's own at `s3.*`, which makes a 500 of what is no XML.
    client.meta.events.register_first("before-parse.*.*", _refuse_foreign)
    return client
