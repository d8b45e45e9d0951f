"""A TCP proxy in front of an S3 server, by which tests cut it off and count what it sends."""

import contextlib
import socket
import threading
from typing import Self
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
