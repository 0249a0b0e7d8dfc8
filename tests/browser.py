"""A real browser for tests: Debian's Chromium, headless, over a pipe, without a network.

It speaks the DevTools protocol, JSON between NUL bytes, on file descriptors 3 and 4. Names are
resolved to nothing but loopback, and every address that a page asks for is written down.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium")
MISSING = "Chromium is not installed (Debian: apt-get install chromium)"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-features=IsolateSandboxedIframes", "--remote-debugging-pipe",
)  # fmt: skip
WIDTH, HEIGHT = 1400, 1000


class Page:
    """One tab."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.asked, self.rest, self.session = 0, b"", ""
        self.requests: list[str] = []
        self.frames: list[int] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")
        self.size(WIDTH, HEIGHT)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask the browser for something and wait for its answer."""
        self.asked += 1
        message: dict[str, Any] = {"id": self.asked, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self.commands, text) :]
        while True:
            heard = self._next()
            if heard.get("id") == self.asked:
                assert "error" not in heard, heard["error"]
                return dict(heard["result"])
            self._note(heard.get("method", ""), heard.get("params", {}))

    def _note(self, event: str, told: dict[str, Any]) -> None:
        """Keep what the browser says by itself: addresses asked for, frames to read."""
        if event == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif event == "Runtime.executionContextCreated":
            if told["context"]["auxData"].get("isDefault"):
                self.frames.append(told["context"]["id"])
        elif event == "Runtime.executionContextDestroyed":
            self.frames = [one for one in self.frames if one != told["executionContextId"]]
        elif event == "Runtime.executionContextsCleared":
            self.frames = []

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            part = os.read(self.answers, 1 << 20)
            assert part, "the browser ended"
            self.rest += part
        message, self.rest = self.rest.split(b"\0", 1)
        return dict(json.loads(message))

    def size(self, width: int, height: int) -> None:
        """How large the window is, in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip

    def run(self, script: str) -> Any:
        """The value of an expression, or of what its promise gives."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True,
                          returnByValue=True)  # fmt: skip
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self) -> str:
        """What a reader sees, in all frames of the page."""
        seen = []
        for frame in tuple(self.frames):
            found = self._asked("document.body ? document.body.innerText : ''", frame)
            seen.append(str(found.get("result", {}).get("value", "")))
        return "\n".join(seen).replace("\N{NO-BREAK SPACE}", " ")

    def _asked(self, script: str, frame: int) -> dict[str, Any]:
        """Evaluate in one frame; nothing if it went away meanwhile."""
        try:
            return self.call("Runtime.evaluate", expression=script, contextId=frame,
                             returnByValue=True)  # fmt: skip
        except AssertionError:
            return {}

    def open(self, address: str, *wanted: str, within: float = 60.0) -> str:
        """Go to an address and wait until all these words are to be seen; what is to be seen."""
        self.call("Page.navigate", url=address)
        return self.until(*wanted, within=within)

    def until(self, *wanted: str, within: float = 60.0) -> str:
        """Wait until all these words are to be seen; what is to be seen."""
        deadline = time.monotonic() + within
        while True:
            seen = self.text()
            missing = [words for words in wanted if words not in seen]
            if not missing:
                return seen
            assert time.monotonic() < deadline, f"not to be seen: {missing}\n{seen}"
            time.sleep(0.2)

    def click(self, words: str) -> None:
        """Press the innermost visible thing that says exactly these words."""
        self.until(words)
        pressed = self.run(
            "(words => { const all = [...document.querySelectorAll('a, button, [role], span, div')]"
            ".filter(e => e.innerText && e.innerText.trim() === words && e.offsetParent);"
            "const last = all.pop(); if (last) last.click(); return !!last; })"
            f"({json.dumps(words)})"
        )
        assert pressed, f"nothing to press says {words}"

    def picture(self, path: Path, whole: bool = False) -> None:
        """Leave a screenshot."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def elsewhere(self) -> list[str]:
        """Addresses that the pages asked for and that are not on this machine."""
        near = ("data", "blob", "file", "about")
        parts = ((address, urlsplit(address)) for address in self.requests)
        return [a for a, p in parts if p.scheme not in near and p.hostname != "127.0.0.1"]


@contextmanager
def browser(home: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own in `home`, and end it."""
    assert CHROMIUM
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={home / 'profile'}", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],  # noqa: S607
        pass_fds=(theirs_in, theirs_out),
        # Commands run in this process may have left a temporary folder that is gone by now.
        env=os.environ | {"HOME": str(home), "TMPDIR": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=(home / "chromium.log").open("wb"),
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_out, ours_in)
    finally:
        os.close(ours_out)
        os.close(ours_in)
        process.terminate()
        process.wait(20)
