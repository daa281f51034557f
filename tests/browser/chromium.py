"""A headless Chromium that tests talk to by its own protocol, over two pipes."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

__all__ = ["Chromium", "found"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome-headless-shell")
SECONDS = 60.0


def found() -> str | None:
    """Return the path of a browser, None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One page in a browser; `errors` are what it wrote on its console, and what it could not load.

    Raises TimeoutError where the browser does not answer.
    """

    def __init__(self, profile: Path) -> None:
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        self._rest, self._numbers, self.errors = b"", itertools.count(1), []
        # The browser reads its descriptor 3 and writes to 4.
        command = [
            "bash", "-c", f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}', str(found()), "--headless",
            "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
            "--no-first-run", "--hide-scrollbars", f"--user-data-dir={profile}", "about:blank",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_read)
        os.close(to_write)
        self._session: str | None = None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End the browser."""
        self._process.kill()
        self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer.get("result", {})

    def _next(self) -> dict[str, Any]:
        limit = time.monotonic() + SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, limit - time.monotonic()))
            part = os.read(self._read, 1 << 20) if ready else b""
            if not part:
                raise TimeoutError("the browser does not answer")
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        event: dict[str, Any] = json.loads(text)
        kind, said = event.get("method", ""), event.get("params", {})
        if kind in ("Runtime.exceptionThrown", "Network.loadingFailed"):
            self.errors.append(f"{kind}: {json.dumps(said)[:300]}")
        if kind == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning"):
            self.errors.append(f"{kind}: {json.dumps(said)[:300]}")
        if kind == "Log.entryAdded" and said["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{kind}: {said['entry']['text']}")
        return event

    def open(self, path: Path, width: int, dark: bool) -> None:
        """Show a file in a window of a width, in light or dark."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.absolute().as_uri())
        limit = time.monotonic() + SECONDS
        while self.tell("document.readyState") != "complete" or self.tell("location.href") == (
            "about:blank"
        ):
            assert time.monotonic() < limit
            time.sleep(0.02)

    def tell(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key])  # fmt: skip

    def picture(self, path: Path) -> None:
        """Write a picture of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))
