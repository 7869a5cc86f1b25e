"""What a module may ask of its host.

Subclass `Host` and override what you offer. Every method is called on threads of the module, so what it touches needs
a lock; it must not call the module. An exception becomes the status FAILED and is printed, since Python's default
would tell the module that all went well.
"""

from __future__ import annotations

import ctypes
import json
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, Optional

from . import abi
from .abi import Status


class Host:
    """Logs to stderr, drops events, accepts every subscription. The table it lends lives as long as the object."""

    LEVELS = {1: "error", 2: "warn", 3: "info", 4: "debug", 5: "trace"}

    def __init__(self, config: Optional[Dict[str, Any]] = None) -> None:
        self.configuration = config or {}
        self._last_id = 0
        self._id_lock = threading.Lock()
        # The attributes keep the callbacks alive: the module holds addresses, which ctypes does not count.
        self._log = abi.LOG(self._on_log)
        self._publish = abi.PUBLISH(self._on_publish)
        self._subscribe = abi.SUBSCRIBE(self._on_subscribe)
        self._unsubscribe = abi.UNSUBSCRIBE(lambda _, number: self._guard(lambda: self.unsubscribe(number)))
        self._config = abi.CONFIG(self._on_config)
        self._now = abi.NOW(lambda _: self.now())
        self._extension = abi.EXTENSION(lambda _, name: None)
        self.table = abi.HostTable(
            ctypes.sizeof(abi.HostTable),
            abi.ABI_VERSION,
            None,
            self._log,
            self._publish,
            self._subscribe,
            self._unsubscribe,
            self._config,
            self._now,
            self._extension,
        )

    # ---- override these ----

    def log(self, level: str, target: str, message: str, fields: str) -> None:
        """A line of the module's log."""
        print(f"{level} {target}: {message} {fields}", file=sys.stderr)

    def publish(self, topic: str, payload: bytes, event_id: str) -> Status:
        """An event of the module. BUSY asks it to try again."""
        return Status.OK

    def subscribe(self, pattern: str) -> int:
        """The module wants the events of a pattern; gives a number for `unsubscribe`."""
        with self._id_lock:
            self._last_id += 1
            return self._last_id

    def unsubscribe(self, number: int) -> Status:
        """The module wants no more of them."""
        return Status.OK

    def now(self) -> int:
        """Nanoseconds since the Unix epoch; a test may give a time of its own."""
        return time.time_ns()

    # ---- the module's side ----

    def _guard(self, body: Callable[[], Optional[int]]) -> int:
        try:
            return int(body() or Status.OK)
        except Exception:
            traceback.print_exc()
            return Status.FAILED

    def _on_log(self, _: Any, level: int, target: abi.Str, message: abi.Str, fields: abi.Str) -> None:
        self._guard(lambda: self.log(self.LEVELS.get(level, "?"), target.text(), message.text(), fields.text()))

    def _on_publish(self, _: Any, event: Any) -> int:
        got = event.contents
        return self._guard(lambda: self.publish(got.topic.text(), got.payload.copy(), got.id.text()))

    def _on_subscribe(self, _: Any, pattern: abi.Str, out: Any) -> int:
        def body() -> None:
            out[0] = self.subscribe(pattern.text())

        return self._guard(body)

    def _on_config(self, _: Any, pointer: abi.Str, out: abi.Sink) -> int:
        def body() -> None:
            value: Any = self.configuration
            for step in pointer.text().split("/")[1:]:
                step = step.replace("~1", "/").replace("~0", "~")
                value = value[int(step)] if isinstance(value, list) else value[step]
            out.write(out.ctx, abi.Str.lend(json.dumps(value)))

        try:
            body()
        except (KeyError, IndexError, TypeError, ValueError):
            pass  # the pointer leads nowhere, and the contract says: write nothing
        return Status.OK
