"""What stand-ins for servers have in common."""

import threading
from http.server import ThreadingHTTPServer
from typing import Self


class Double(ThreadingHTTPServer):
    """A server on a free port of this machine, in a thread while its `with` block runs."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()
