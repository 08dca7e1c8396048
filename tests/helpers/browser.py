"""A Chromium that tests talk to: pages opened, expressions evaluated, every request and every console line kept.

The DevTools protocol over a pipe: NUL-ended JSON, written to the browser's descriptor 3 and read from its 4.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from typing import IO, Any

_QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--hide-scrollbars"),
)


@dataclass
class Tab:
    """One page of a browser."""

    to: IO[bytes]
    answers: IO[bytes]
    session: str = ""
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    _number: int = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.to.write(json.dumps(message).encode() + b"\0")
        self.to.flush()
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def open(self, url: str) -> None:
        """Load a page, and forget what the one before asked for and said."""
        self.requests.clear()
        self.console.clear()
        self.call("Page.navigate", url=url)
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, of a promise what it resolves to."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, path: Path, *, width: int, height: int, dark: bool = False) -> Path:
        """A screenshot, light or dark."""
        import base64

        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.resize(width, height)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path

    def resize(self, width: int, height: int) -> None:
        """Show the page in a window of this size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def _read(self) -> dict[str, Any]:
        parts = bytearray()
        while (byte := self.answers.read(1)) != b"\0":
            assert byte, "the browser has ended"
            parts += byte
            if waiting := self.answers.peek():  # type: ignore[attr-defined]
                end = waiting.find(b"\0")
                parts += self.answers.read(len(waiting) if end < 0 else end)
        message = json.loads(parts)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.console.append(
                " ".join(str(part.get("value", part.get("description"))) for part in parameters["args"])
            )
        elif method == "Runtime.exceptionThrown":
            self.console.append(str(parameters["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(parameters["entry"]["text"])
        return message


@contextmanager
def open_browser(chromium: str, folder: Path) -> Iterator[Tab]:
    """A browser with one empty tab; `folder` is for its profile."""
    to_browser, from_browser = os.pipe(), os.pipe()
    reads, writes = fcntl(to_browser[0], F_DUPFD, 10), fcntl(from_browser[1], F_DUPFD, 10)
    command = [chromium, *_QUIET, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
    with (
        open(to_browser[1], "wb") as to,
        open(from_browser[0], "rb") as answers,
        subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{reads} 4>&{writes}', "bash", *command],
            pass_fds=(reads, writes),
            stderr=subprocess.DEVNULL,
        ) as process,
    ):
        for descriptor in (reads, writes, to_browser[0], from_browser[1]):
            os.close(descriptor)
        try:
            tab = Tab(to, answers)
            (target, *_) = (t for t in tab.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            tab.session = tab.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                tab.call(f"{domain}.enable")
            yield tab
        finally:
            process.kill()
