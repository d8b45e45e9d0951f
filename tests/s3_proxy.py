"""Proxies in front of an S3 server: one cuts it off and counts bytes, one spoils its answers."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self
from urllib.parse import urlsplit


class Proxy:
    """Passes on what a server and its clients say, as a context manager.

    Attributes:
        received: Bytes that came from the server.
    """

    def __init__(self, endpoint: str) -> None:
        url = urlsplit(endpoint)
        self._server = (url.hostname, url.port)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._port = 0
        self._until_cut: int | None = None
        self._cut_for_good = False
        self.received = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Take connections, again on the same port after a stop."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        """Drop all connections and refuse new ones."""
        with contextlib.suppress(OSError):  # stopped already
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def cut(self, after: int, *, for_good: bool = False) -> None:
        """Drop all connections once so many more bytes have passed, either way; or even stop."""
        self._until_cut, self._cut_for_good = after, for_good

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            with self._lock:
                self._open |= {client, server}
            for pair in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, from_server: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(2**16):
                if self._is_cut(len(content), from_server):
                    self.stop() if self._cut_for_good else self._drop()
                    return
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _is_cut(self, length: int, from_server: bool) -> bool:
        with self._lock:
            self.received += length * from_server
            if self._until_cut is None:
                return False
            self._until_cut -= length
            if self._until_cut > 0:
                return False
            self._until_cut = None
            return True

    def _drop(self) -> None:
        with self._lock:
            dropped, self._open = self._open, set()
        for end in dropped:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Answer(NamedTuple):
    """An answer of a server: status, headers, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to a server, and some of its answers with a fault; a context manager.

    Attributes:
        fault: What is done to an answer: one of `FAULTS`, or None.
        every: Which answers have it: 1 for all of them, 3 for each third.
        faults: How many have had it.
    """

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _FaultyHandler)
        url = urlsplit(endpoint)
        self.server = (url.hostname or "", url.port or 80)
        self.lock = threading.Lock()
        self.fault: str | None = None
        self.every, self.answers, self.faults = 1, 0, 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def next_fault(self) -> str:
        """Count an answer; return its fault, or an empty text."""
        with self.lock:
            self.answers += 1
            if self.fault is None or self.answers % self.every:
                return ""
            self.faults += 1
            return self.fault

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


def _page(status: int, **headers: str) -> Callable[[Answer], Answer]:
    headers = {"Content-Type": "text/html"} | headers
    return lambda answer: Answer(status, headers, b"<html><body>Please log in</body></html>")


def _busy(status: int, code: str) -> Callable[[Answer], Answer]:
    body = f"<Error><Code>{code}</Code></Error>".encode()
    return lambda answer: Answer(status, {"Content-Type": "application/xml"}, body)


def _changed(answer: Answer) -> Answer:
    body = bytearray(answer.body)
    if "Content-Range" in answer.headers and body:
        body[len(body) // 2] ^= 1
    return answer._replace(body=bytes(body))


def _slow(answer: Answer) -> Answer:
    time.sleep(0.2)
    return answer


FAULTS: dict[str, Callable[[Answer], Answer]] = {
    "short": lambda answer: answer._replace(body=answer.body[: len(answer.body) // 2]),
    "changed": _changed,
    "page": _page(200),
    "missing page": _page(404),
    "redirect": _page(302, Location="https://sso.example/login"),
    "unavailable": _busy(503, "SlowDown"),
    "gateway": _page(502),
    "error": _busy(500, "InternalError"),
    "slow": _slow,
    "reset": lambda answer: answer,  # by the handler
    "changed upload": lambda answer: answer,  # by the handler
}


class _FaultyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        assert isinstance(self.server, FaultyProxy)
        fault = self.server.next_fault()
        body = bytearray(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if fault == "changed upload" and body:
            body[len(body) // 2] ^= 1
        answer = self._answer(bytes(body))
        answer = FAULTS[fault](answer) if fault else answer
        self.send_response(answer.status)
        length = {} if answer.status == 204 else {"Content-Length": str(len(answer.body))}
        for name, value in (answer.headers | length).items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "reset":
            self.wfile.write(answer.body[: len(answer.body) // 2])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self.wfile.write(answer.body)

    def _answer(self, body: bytes) -> Answer:
        assert isinstance(self.server, FaultyProxy)
        connection = HTTPConnection(*self.server.server, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                connection.putheader(name, value)  # as they were signed
        connection.endheaders(body)
        found = connection.getresponse()
        left_out = ("content-length", "transfer-encoding", "connection")
        headers = {
            name: value for name, value in found.getheaders() if name.lower() not in left_out
        }
        answer = Answer(found.status, headers, found.read())
        connection.close()
        return answer

    do_HEAD = do_GET = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass
