"""A headless Chromium of the tests' own, and what it sees of a page."""

import base64
import contextlib
import html
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import websocket

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-dev-shm-usage",  # a container's is small
    "--disable-gpu",
    "--no-first-run",
    "--enable-features=IsolateSandboxedIframes",  # a session of its own for such a frame
    "--remote-debugging-port=0",  # any that is free
)
_START_SECONDS, _PAGE_SECONDS = 60, 120
_HEIGHT = 900  # of the window
_TALLEST = 16_000  # of a picture: further down, Chromium begins again at the top
_MEASURE = """(() => {
  const root = document.documentElement;
  const inside = e => e && (getComputedStyle(e).overflowX !== "visible" || inside(e.parentElement));
  const box = e => e.getBoundingClientRect();
  const sticksOut = e => box(e).right > root.clientWidth + 1 && !inside(e.parentElement);
  // A graph of tasks (role=img) may be scrolled.
  const plots = [...document.querySelectorAll("figure svg:not([role]), figure img")]
    .filter(e => box(e).width);
  const texts = plots.flatMap(e => [...e.querySelectorAll("text")].map(text => [e, text]));
  const leaves = (text, plot) => text.left < plot.left - 1 || text.right > plot.right + 1
    || text.top < plot.top - 4 || text.bottom > plot.bottom + 4;  // no letter fills its line
  const size = ([e, text]) =>
    parseFloat(getComputedStyle(text).fontSize) * box(e).width / e.viewBox.baseVal.width;
  return {
    text: document.body.innerText,
    overflow: root.scrollWidth - root.clientWidth,
    wide: [...document.body.querySelectorAll("*")].filter(sticksOut)
      .map(e => e.outerHTML.slice(0, 100)),
    cut: [
      ...plots.filter(e => box(e).right > box(e.closest("figure")).right + 1)
        .map(e => e.outerHTML.slice(0, 100)),
      ...texts.filter(([e, text]) => leaves(box(text), box(e))).map(([, text]) => text.textContent),
    ],
    smallest: Math.min(99, ...texts.map(size)),
    broken: [...document.images].filter(image => image.naturalWidth === 0).length,
  };
})()"""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the browser saw of a page.

    Attributes:
        text: What can be read.
        errors: Of scripts, of the console, and the browser's own.
        requests: Addresses that the page asked for; those of data that it holds are none.
        overflow: Pixels by which it is wider than the window.
        wide: The elements that stick out of it.
        cut: The plots that stick out of their figures, and the texts that stick out of plots.
        smallest: Pixels of the smallest letters in plots.
        broken: Pictures that cannot be shown.
        picture: The whole page (the window, where the page is in a frame), as PNG.
    """

    text: str
    errors: list[str]
    requests: list[str]
    overflow: int
    wide: list[str]
    cut: list[str]
    smallest: float
    broken: int
    picture: bytes = field(repr=False)


class Browser:
    """Speaks the DevTools protocol: https://chromedevtools.github.io/devtools-protocol."""

    def __init__(self, endpoint: str) -> None:
        self._socket = websocket.create_connection(
            endpoint, timeout=_PAGE_SECONDS, suppress_origin=True
        )
        self._numbers = itertools.count()

    def see(self, page: Path, width: int, *, unfold: bool = False) -> Seen:
        """Open a page in a window of that width, with all that it folds unfolded if wanted."""
        tab = _Tab(self, width)
        tab.open(page.as_uri(), frames=0)
        if unfold:
            tab.run("document.querySelectorAll('details').forEach(each => each.open = true)")
        return tab.seen(whole=True)

    def see_framed(self, page: Path, width: int, *, sandbox: str) -> Seen:
        """Open a page as another page's frame with that attribute `sandbox`, as KFP's UI does."""
        with tempfile.TemporaryDirectory() as folder:
            host = Path(folder) / "host.html"
            host.write_text(
                f'<!DOCTYPE html><body style="margin: 0"><iframe sandbox="{sandbox}" '
                f'style="border: 0; width: 100%; height: {_HEIGHT - 5}px" '
                f'srcdoc="{html.escape(page.read_text())}"></iframe>'
            )
            tab = _Tab(self, width)
            tab.open(host.as_uri(), frames=1)
            return tab.seen(whole=False)

    def send(self, method: str, session: str, **parameters: Any) -> int:
        """Send a command; return its number."""
        message = {"id": next(self._numbers), "method": method, "params": parameters}
        self._socket.send(json.dumps(message | ({"sessionId": session} if session else {})))
        return int(message["id"])  # type: ignore[call-overload]

    def receive(self) -> dict[str, Any]:
        """Wait for the next answer or event."""
        return dict(json.loads(self._socket.recv()))


class _Tab:
    """A tab, and the session of each of its frames: the page that is looked at is the last's."""

    def __init__(self, browser: Browser, width: int) -> None:
        self._browser = browser
        self._events: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._target = self._call("Target.createTarget", "", url="about:blank")["targetId"]
        parameters = {"targetId": self._target, "flatten": True}
        self._sessions = [self._call("Target.attachToTarget", "", **parameters)["sessionId"]]
        self._listen(self._sessions[0])
        self._call(
            "Emulation.setDeviceMetricsOverride",
            self._sessions[0],
            width=width,
            height=_HEIGHT,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._call("Emulation.setScrollbarsHidden", self._sessions[0], hidden=True)

    def open(self, address: str, *, frames: int) -> None:
        """Go to a page with so many frames; return when all of it is loaded."""
        self._address = address
        self._events.clear()
        self._call("Page.navigate", self._sessions[0], url=address)
        while not self._of("Page.loadEventFired") or len(self._sessions) < 1 + frames:
            self._take()
        while not self.run("document.readyState === 'complete' && location.href !== 'about:blank'"):
            time.sleep(0.05)

    def run(self, code: str) -> Any:
        """Run code in the page; return its value."""
        result = self._call(
            "Runtime.evaluate", self._sessions[-1], expression=code, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def seen(self, *, whole: bool) -> Seen:
        """Return what there is to see, and close the tab."""
        measured = self.run(_MEASURE)
        picture = self._call("Page.captureScreenshot", self._sessions[0], **self._clip(whole))
        self._call("Target.closeTarget", "", targetId=self._target)
        asked = [each["request"]["url"] for each in self._of("Network.requestWillBeSent")]
        return Seen(
            **measured,
            errors=list(self._errors()),
            requests=[url for url in asked if url[:5] != "data:" and url != self._address],
            picture=base64.b64decode(picture["data"]),
        )

    def _clip(self, whole: bool) -> dict[str, Any]:
        if not whole:
            return {}
        size = self._call("Page.getLayoutMetrics", self._sessions[0])["cssContentSize"]
        clip = size | {"height": min(_TALLEST, size["height"]), "scale": 1}
        return {"clip": clip, "captureBeyondViewport": True}

    def _errors(self) -> Iterator[str]:
        for event in self._of("Runtime.exceptionThrown"):
            yield str(event["exceptionDetails"])
        for event in self._of("Runtime.consoleAPICalled"):
            if event["type"] in ("error", "assert"):
                yield str(event["args"])
        for event in self._of("Log.entryAdded"):
            if event["entry"]["level"] == "error":
                yield f"{event['entry']['text']} {event['entry'].get('url', '')}"

    def _of(self, method: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self._events if event["method"] == method]

    def _listen(self, session: str) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable", session)
        # A frame waits until this listens to it, too.
        parameters = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        self._call("Target.setAutoAttach", session, **parameters)

    def _call(self, method: str, session: str, **parameters: Any) -> dict[str, Any]:
        number = self._browser.send(method, session, **parameters)
        while number not in self._answers:
            self._take()
        answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _take(self) -> None:
        """Wait for the next message, and keep it."""
        message = self._browser.receive()
        if "id" in message:
            self._answers[message["id"]] = message
            return
        self._events.append(message)
        if message["method"] == "Target.attachedToTarget" and message.get("sessionId"):
            self._sessions.append(message["params"]["sessionId"])
            self._listen(self._sessions[-1])
            self._call("Runtime.runIfWaitingForDebugger", self._sessions[-1])


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser, and stop it in the end; skip the test where there is none."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(_NAMES)} is there")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = Path(profile) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [program, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
                env=os.environ | {"TMPDIR": profile},  # it leaves files there
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Browser(_endpoint(Path(profile), process, log))
        finally:
            process.terminate()
            process.wait(_START_SECONDS)


def _endpoint(profile: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Wait for the browser to say where it listens."""
    file, end = profile / "DevToolsActivePort", time.monotonic() + _START_SECONDS
    while not (file.is_file() and "/" in file.read_text()):
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.05)
    port, path = file.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"
