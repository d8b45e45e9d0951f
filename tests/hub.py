"""A stand-in of Hugging Face's hub: its API's paths, over real HTTP, for folders of this machine.

Large files are elsewhere, as on the hub: their address redirects to another host, and is the one
that says their checksum.
"""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

import timm
import torch
from timm.models import save_for_hf

LARGE = (".safetensors", ".bin", ".pth")
SMALL = {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 24), "stem_width": 8}


def write(folder: Path, **changes: object) -> Path:
    """Write a tiny network of ten classes as timm does for the hub."""
    torch.manual_seed(5)
    network = timm.create_model("resnet10t", num_classes=10, **{**SMALL, **changes})
    save_for_hf(network, folder, safe_serialization=True)
    return folder


class Hub:
    """Serves repositories, in a thread, until the block ends.

    Attributes:
        repositories: The folder of each one's files.
        requests: What was asked for.
        damage: Changes what is sent of a large file.
        listed: Whether the API knows files' checksums: some mirrors do not.
        status: What everything is answered with, in place of a file; 0 for none.
        gated: Whether repositories are for some people only.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Path] = {}
        self.requests: list[str] = []
        self.damage: Callable[[bytes], bytes] = lambda content: content
        self.listed, self.status, self.gated = True, 0, False
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(
            target=lambda: self._server.serve_forever(0.05), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def commit(self, name: str) -> str:
        """Return a repository's commit: of its files' names and contents."""
        digest = hashlib.sha1(name.encode())
        for path in sorted(self.repositories[name].iterdir()):
            digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                hub.requests.append(f"{self.command} {self.path}")
                if hub.status:
                    self._send(hub.status, b"", {})
                    return
                _, *parts = unquote(urlsplit(self.path).path).split("/")
                match parts:
                    case ["api", "models", owner, name]:
                        self._info(f"{owner}/{name}", "main")
                    case ["api", "models", owner, name, "revision", revision]:
                        self._info(f"{owner}/{name}", revision)
                    case [owner, name, "resolve", revision, file]:
                        self._file(f"{owner}/{name}", revision, file)
                    case ["cdn", owner, name, file]:
                        content = (hub.repositories[f"{owner}/{name}"] / file).read_bytes()
                        self._send(200, hub.damage(content), {})
                    case _:
                        self._send(404, b"", {})

            do_HEAD = do_GET  # noqa: N815

            def _info(self, name: str, revision: str) -> None:
                if not self._there(name, revision):
                    return
                files = [self._listed(path) for path in sorted(hub.repositories[name].iterdir())]
                content = {"id": name, "sha": hub.commit(name), "siblings": files}
                self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

            def _listed(self, path: Path) -> dict[str, object]:
                entry: dict[str, object] = {"rfilename": path.name}
                if hub.listed and path.suffix in LARGE:
                    content = path.read_bytes()
                    entry["lfs"] = {
                        "sha256": hashlib.sha256(content).hexdigest(),
                        "size": len(content),
                        "pointerSize": 130,
                    }
                return entry

            def _there(self, name: str, revision: str) -> bool:
                problem = ""
                if name not in hub.repositories:
                    problem = "RepoNotFound"
                elif hub.gated:
                    problem = "GatedRepo"
                elif revision not in ("main", "v1", hub.commit(name)):
                    problem = "RevisionNotFound"
                if problem:
                    self._send(
                        403 if problem == "GatedRepo" else 404, b"", {"X-Error-Code": problem}
                    )
                return not problem

            def _file(self, name: str, revision: str, file: str) -> None:
                if not self._there(name, revision):
                    return
                path = hub.repositories[name] / file
                commit = {"X-Repo-Commit": hub.commit(name)}
                if not path.is_file():
                    self._send(404, b"", commit | {"X-Error-Code": "EntryNotFound"})
                    return
                content = path.read_bytes()
                if path.suffix not in LARGE:
                    etag = hashlib.sha1(content).hexdigest()
                    self._send(200, content, commit | {"ETag": f'"{etag}"'})
                    return
                elsewhere = hub.endpoint.replace("127.0.0.1", "localhost")
                large = {
                    "Location": f"{elsewhere}/cdn/{name}/{file}",
                    "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"',
                    "X-Linked-Size": str(len(content)),
                }
                self._send(302, b"", commit | large)

            def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler
