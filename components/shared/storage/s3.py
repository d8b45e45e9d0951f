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
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from components.shared.stage import environment, retry
from components.shared.stage.errors import StorageError, UserError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds
_RETRIED_CODES = {
    "ConditionalRequestConflict",  # another conditional write of the same object is under way
    "IncompleteBody",
    "OperationAborted",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SETTINGS = (
    "check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
# Once set, requests in this context are not retried: nobody needs their results any more.
stop: ContextVar[threading.Event] = ContextVar("stop")
_NEVER = threading.Event()


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
        StorageError: It could not for `WEBLY_STORAGE_TIMEOUT` seconds after its first failure.
        UserError: It never will: no credentials, no permission, no bucket.
        FileNotFoundError: There is no such object.
        RefusedError: A condition does not hold, or a range lies outside the object.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    patience, retries = environment.storage_timeout(), 0
    pauses = retry.pauses(patience, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
    while True:
        try:
            return request(_client())
        except (BotoCoreError, ClientError, HTTPError) as error:
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
    """Make a request without retries."""
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.suppress(BotoCoreError, ClientError):
        request(_client())


def _transient(error: Exception) -> bool:
    from botocore import exceptions
    from urllib3.exceptions import HTTPError

    if isinstance(error, exceptions.ClientError):
        status, code = _status(error), _code(error)
        return code in _RETRIED_CODES or status in (408, 429) or (status >= 500 and status != 501)
    if isinstance(error, exceptions.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" not in str(error)
    return isinstance(
        error,
        (
            exceptions.ConnectionError,
            exceptions.HTTPClientError,
            exceptions.IncompleteReadError,
            HTTPError,
        ),
    )


def _final(uri: str, error: Exception) -> Exception:
    """Return what to raise for an error that retries cannot fix."""
    from botocore import exceptions

    if isinstance(error, exceptions.SSLError):
        return UserError(f"{uri}: {error}: set AWS_CA_BUNDLE to the authority's certificate")
    if not isinstance(error, exceptions.ClientError):
        return UserError(f"{uri}: {error}: {_SETTINGS}")
    status, code = _status(error), _code(error)
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
    return client
