"""A Firefox that tests talk to by its own protocol (Marionette): open a page, evaluate an expression."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any


@dataclass
class Window:
    """One window; messages are `LENGTH:[0, NUMBER, COMMAND, PARAMETERS]` and `LENGTH:[1, NUMBER, ERROR, RESULT]`."""

    stream: IO[bytes]
    _number: int = 0

    def call(self, command: str, **parameters: Any) -> Any:
        """Send a command and wait for its result."""
        self._number += 1
        message = json.dumps([0, self._number, command, parameters]).encode()
        self.stream.write(b"%d:%s" % (len(message), message))
        self.stream.flush()
        _, _, error, result = self.read()
        assert error is None, error
        return result

    def read(self) -> Any:
        """The next message."""
        length = b""
        while (digit := self.stream.read(1)) != b":":
            assert digit, "the browser has ended"
            length += digit
        return json.loads(self.stream.read(int(length)))

    def open(self, url: str) -> None:
        """Load a page."""
        self.call("WebDriver:Navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """What an expression's promise resolves to."""
        script = f"const done = arguments[0]; Promise.resolve({expression}).then(done)"
        return self.call("WebDriver:ExecuteAsyncScript", script=script, args=[], sandbox=None)["value"]


@contextmanager
def open_firefox(firefox: str, folder: Path) -> Iterator[Window]:
    """A Firefox with one window; `folder` is for its profile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user.js").write_text(f'user_pref("marionette.port", {port});\n')
    command = [firefox, "--headless", "--marionette", "--no-remote", "--profile", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with _connected(port) as connection, connection.makefile("rwb") as stream:
                window = Window(stream)
                window.read()  # it says hello
                window.call("WebDriver:NewSession")
                window.call("WebDriver:SetTimeouts", script=120_000)
                yield window
        finally:
            process.kill()


def _connected(port: int) -> socket.socket:
    deadline = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=120)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "Firefox did not start"
            time.sleep(0.2)
