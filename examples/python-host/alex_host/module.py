"""A module and its instance.

```python
module = Module.load("libchainbot_plugin.so")
with module.initialize(Host(), {"data_dir": "data"}) as instance:
    instance.start()
    print(instance.request("GET", "/api/chainbot/health").result().body)
```

The library is never unloaded. Control calls (`initialize`, `start`, `stop`, `cleanup`) belong on one thread; the rest
may be called from any.
"""

from __future__ import annotations

import ctypes
import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from . import abi
from .abi import State, Status
from .host import Host

ERROR_BYTES = 1024


class AlexError(Exception):
    """A call that did not return OK."""

    def __init__(self, call: str, status: Union[Status, int], message: str) -> None:
        self.call, self.status, self.message = call, status, message
        name = status.name if isinstance(status, Status) else str(status)
        super().__init__(f"{call}: {name}" + (f" {message}" if message else ""))


class NotAModule(Exception):
    """The library cannot be used; the text says why."""


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    status: int
    headers: Dict[str, Union[str, List[str]]]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Module:
    """A loaded library. Make it with `load`."""

    def __init__(self, table: abi.BaseModule, library: ctypes.CDLL) -> None:
        self.table = table
        self._library = library
        self._futures: Dict[int, "Future[Reply]"] = {}
        self._lock = threading.Lock()
        self._last = 0
        #: Completions of no open request: the module broke the contract.
        self.strays = 0
        self._done = abi.DONE(self._on_done)

    @classmethod
    def load(cls, path: Union[str, Path]) -> Module:
        """Loads a module. `path` is a file; the system's library folders are not searched."""
        try:
            library = ctypes.CDLL(str(Path(path).absolute()))  # RTLD_NOW | RTLD_LOCAL
            entry = getattr(library, abi.ENTRY_SYMBOL)
        except (OSError, AttributeError) as error:
            raise NotAModule(f"{path}: {error}") from error
        entry.argtypes, entry.restype = [ctypes.c_uint32], ctypes.POINTER(abi.BaseModule)
        found = entry(abi.ABI_VERSION)
        if not found:
            # 0 asks for the struct whatever its version, so that a refusal names both numbers.
            other = entry(0)
            version = other.contents.abi_version if other else 0
            raise NotAModule(
                f"{path} has ABI {version >> 16}.{version & 0xFFFF}, this host {abi.ABI_MAJOR}.0"
            )
        if found.contents.struct_size < ctypes.sizeof(abi.BaseModule):
            raise NotAModule(
                f"{path}: struct_size is {found.contents.struct_size}, ABI 1.0 has {ctypes.sizeof(abi.BaseModule)}"
            )
        return cls(found.contents, library)

    def describe(self) -> bytes:
        """The manifest, a JSON document. Needs no instance."""
        pieces: List[bytes] = []
        write = abi.WRITE(lambda _, chunk: pieces.append(chunk.copy()))
        status = self.table.describe(abi.Sink(None, write))
        if status != Status.OK:
            raise AlexError("describe", abi.status_of(status), "")
        return b"".join(pieces)

    def initialize(self, host: Host, config: Union[Mapping[str, Any], str]) -> Instance:
        """Makes an instance and checks all of its configuration."""
        text = config if isinstance(config, str) else json.dumps(config)
        out = ctypes.c_void_p()
        lent = abi.Str.lend(text)
        self.call("initialize", lambda err: self.table.initialize(ctypes.byref(host.table), lent, ctypes.byref(out), err))
        return Instance(self, host, out)

    def call(self, name: str, body: Any) -> None:
        """Calls `body` with a buffer for the error; raises `AlexError` unless it gives OK."""
        room = ctypes.create_string_buffer(ERROR_BYTES)
        err = abi.ErrorBuf(ctypes.addressof(room), ERROR_BYTES, 0)
        status = body(ctypes.byref(err))
        if status != Status.OK:
            message = room.raw[: min(err.len, ERROR_BYTES)].decode("utf-8", "replace")
            raise AlexError(name, abi.status_of(status), message)

    # ---- answers ----

    def open_completion(self) -> Tuple[abi.Completion, int, "Future[Reply]"]:
        """A completion whose context is a number, never an address: a stray one finds nothing and does no harm."""
        future: "Future[Reply]" = Future()
        with self._lock:
            self._last += 1
            number = self._last
            self._futures[number] = future
        return abi.Completion(number, self._done), number, future

    def withdraw(self, number: int) -> None:
        """The request was refused, so no completion may come."""
        with self._lock:
            if self._futures.pop(number, None) is None:
                self.strays += 1

    def open_count(self) -> int:
        """Accepted requests without an answer."""
        with self._lock:
            return len(self._futures)

    def _on_done(self, ctx: Optional[int], status: int, reply: Any) -> None:
        with self._lock:
            future = self._futures.pop(ctx or 0, None)
            self.strays += future is None
        if future is None:
            return
        try:
            if status != Status.OK:
                future.set_exception(AlexError("handle_webhook", abi.status_of(status), ""))
                return
            got = reply.contents
            headers = json.loads(got.headers.copy() or b"{}")
            future.set_result(Reply(got.http_status, headers, got.body.copy()))
        except Exception as error:  # a malformed reply must reach whoever waits
            future.set_exception(error)


class Instance:
    """An instance. Leaving its `with` block stops it and releases it."""

    def __init__(self, module: Module, host: Host, handle: Optional[ctypes.c_void_p]) -> None:
        self.module, self._host, self.handle = module, host, handle

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self, stop_ms: int = 10_000) -> None:
        """Stops if need be, and releases."""
        if self.handle is None:
            return
        if self.health().state not in (State.INITIALIZED, State.STOPPED):
            self.stop(stop_ms)
        self.cleanup()

    def start(self) -> None:
        self.module.call("start", lambda err: self.module.table.start(self.handle, err))

    def stop(self, deadline_ms: int = 10_000) -> None:
        """Raises TIMEOUT with what is left; call it again then."""
        self.module.call("stop", lambda err: self.module.table.stop(self.handle, deadline_ms, err))

    def cleanup(self) -> None:
        self.module.call("cleanup", lambda err: self.module.table.cleanup(self.handle, err))
        self.handle = None

    def health(self) -> abi.Health:
        health = abi.Health(struct_size=ctypes.sizeof(abi.Health))
        status = self.module.table.health(self.handle, ctypes.byref(health))
        if status != Status.OK:
            raise AlexError("health", abi.status_of(status), "")
        return health

    def event(self, topic: str, payload: Union[str, bytes], event_id: str = "") -> None:
        """Hands over an event. BUSY means: keep it and try again."""
        lent = abi.lend(abi.Event, topic=topic, payload=payload, id=event_id, unix_ns=self._host.now())
        self.module.call(
            "handle_event", lambda err: self.module.table.handle_event(self.handle, ctypes.byref(lent), err)
        )

    def request(
        self,
        method: str,
        path: str,
        headers: Optional[Mapping[str, Any]] = None,
        body: bytes = b"",
        peer: str = "127.0.0.1",
        timeout_ms: int = 30_000,
    ) -> "Future[Reply]":
        """Forwards a request. A refusal raises here; anything later comes through the future."""
        completion, number, future = self.module.open_completion()
        lent = abi.lend(
            abi.WebhookRequest,
            timeout_ms=timeout_ms,
            method=method,
            path=path,
            peer=peer,
            headers=json.dumps(dict(headers or {})),
            body=body,
        )
        try:
            self.module.call(
                "handle_webhook",
                lambda err: self.module.table.handle_webhook(self.handle, ctypes.byref(lent), completion, err),
            )
        except AlexError:
            self.module.withdraw(number)
            raise
        return future

    def has_extension(self, name: str) -> bool:
        return bool(self.module.table.get_extension(self.handle, abi.Str.lend(name)))
