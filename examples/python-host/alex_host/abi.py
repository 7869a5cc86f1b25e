"""The types of `include/alex_module.h`, for ctypes.

Order, size and type of every field are the contract. Nothing here has behaviour but `Str`, which lends bytes and reads
what was lent.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_double, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from enum import IntEnum
from typing import Any, Union

ABI_MAJOR = 1
ABI_VERSION = ABI_MAJOR << 16
ENTRY_SYMBOL = "alex_base_module"


class Status(IntEnum):
    """Result of a call. An unknown negative number is an error too; see `status_of`."""

    OK = 0
    INVALID = -1
    STATE = -2
    BUSY = -3
    UNSUPPORTED = -4
    CANCELLED = -5
    TIMEOUT = -6
    PANIC = -7
    FAILED = -8


def status_of(code: int) -> Union[Status, int]:
    """The status with this number, or the number when this version knows none."""
    try:
        return Status(code)
    except ValueError:
        return code


class State(IntEnum):
    """What `health` tells of an instance."""

    INITIALIZED = 1
    STARTING = 2
    STARTED = 3
    DRAINING = 4
    STOPPING = 5
    STOPPED = 6
    FAILED = 7


class Str(Structure):
    """Borrowed bytes: valid until the call that received them returns."""

    _fields_ = [("ptr", c_void_p), ("len", c_size_t)]

    @classmethod
    def lend(cls, data: Union[bytes, str]) -> Str:
        """Points to `data`, which the structure keeps alive."""
        raw = data.encode() if isinstance(data, str) else data
        made = cls(ctypes.cast(ctypes.c_char_p(raw), c_void_p), len(raw)) if raw else cls(None, 0)
        made.kept = raw  # ctypes follows no pointer, so the bytes would be free to go
        return made

    def copy(self) -> bytes:
        """The bytes, copied: the lender may take them away afterwards."""
        return ctypes.string_at(self.ptr, self.len) if self.len else b""

    def text(self) -> str:
        """The bytes as text."""
        return self.copy().decode("utf-8", "replace")


def lend(kind: Any, **fields: Any) -> Any:
    """A structure of this kind with its `struct_size`; texts and bytes are lent and kept alive with it."""
    made = kind(struct_size=ctypes.sizeof(kind))
    made.kept = []
    for name, value in fields.items():
        if isinstance(value, (str, bytes)):
            value = Str.lend(value)
            made.kept.append(value)  # assigning copies the pointer, not what keeps its bytes
        setattr(made, name, value)
    return made


WRITE = CFUNCTYPE(None, c_void_p, Str)


class Sink(Structure):
    _fields_ = [("ctx", c_void_p), ("write", WRITE)]


class ErrorBuf(Structure):
    _fields_ = [("ptr", c_void_p), ("cap", c_size_t), ("len", c_size_t)]


class Event(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("flags", c_uint32),
        ("topic", Str),
        ("payload", Str),
        ("id", Str),
        ("trace", Str),
        ("unix_ns", c_uint64),
    ]


LOG = CFUNCTYPE(None, c_void_p, c_uint32, Str, Str, Str)
PUBLISH = CFUNCTYPE(c_int32, c_void_p, POINTER(Event))
SUBSCRIBE = CFUNCTYPE(c_int32, c_void_p, Str, POINTER(c_uint64))
UNSUBSCRIBE = CFUNCTYPE(c_int32, c_void_p, c_uint64)
CONFIG = CFUNCTYPE(c_int32, c_void_p, Str, Sink)
NOW = CFUNCTYPE(c_uint64, c_void_p)
EXTENSION = CFUNCTYPE(c_void_p, c_void_p, Str)


class HostTable(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("abi_version", c_uint32),
        ("ctx", c_void_p),
        ("log", LOG),
        ("publish", PUBLISH),
        ("subscribe", SUBSCRIBE),
        ("unsubscribe", UNSUBSCRIBE),
        ("config", CONFIG),
        ("now", NOW),
        ("get_extension", EXTENSION),
    ]


class Health(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("state", c_uint32),
        ("score", c_double),
        ("uptime_ms", c_uint64),
        ("in_flight", c_uint32),
        ("queue_depth", c_uint32),
        ("panics", c_uint32),
        ("live_threads", c_uint32),
        ("detail_len", c_uint32),
        ("detail_bytes", c_uint8 * 148),
    ]

    @property
    def detail(self) -> str:
        return bytes(self.detail_bytes[: min(self.detail_len, 148)]).decode("utf-8", "replace")

    @property
    def label(self) -> str:
        """From 0.8 healthy, from 0.5 degraded, below that unhealthy; NaN is unhealthy."""
        return "healthy" if self.score >= 0.8 else "degraded" if self.score >= 0.5 else "unhealthy"


class WebhookRequest(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("timeout_ms", c_uint32),
        ("method", Str),
        ("path", Str),
        ("mount", Str),
        ("peer", Str),
        ("headers", Str),
        ("body", Str),
        ("trace", Str),
    ]


class WebhookReply(Structure):
    _fields_ = [("struct_size", c_uint32), ("http_status", c_uint32), ("headers", Str), ("body", Str)]


DONE = CFUNCTYPE(None, c_void_p, c_int32, POINTER(WebhookReply))


class Completion(Structure):
    _fields_ = [("ctx", c_void_p), ("done", DONE)]


CONTROL = CFUNCTYPE(c_int32, c_void_p, POINTER(ErrorBuf))


class BaseModule(Structure):
    """The module's functions. Read a field added after 1.0 only when `struct_size` covers it."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("abi_version", c_uint32),
        ("describe", CFUNCTYPE(c_int32, Sink)),
        ("initialize", CFUNCTYPE(c_int32, POINTER(HostTable), Str, POINTER(c_void_p), POINTER(ErrorBuf))),
        ("start", CONTROL),
        ("stop", CFUNCTYPE(c_int32, c_void_p, c_uint32, POINTER(ErrorBuf))),
        ("cleanup", CONTROL),
        ("health", CFUNCTYPE(c_int32, c_void_p, POINTER(Health))),
        ("handle_event", CFUNCTYPE(c_int32, c_void_p, POINTER(Event), POINTER(ErrorBuf))),
        (
            "handle_webhook",
            CFUNCTYPE(c_int32, c_void_p, POINTER(WebhookRequest), Completion, POINTER(ErrorBuf)),
        ),
        ("get_extension", EXTENSION),
    ]


# The header's own checks, so that a slip here shows at import and not as a crash.
_P = ctypes.sizeof(c_void_p)
for _struct, _size in [
    (Str, 2 * _P),
    (Sink, 2 * _P),
    (ErrorBuf, 3 * _P),
    (Event, 16 + 8 * _P),
    (HostTable, 8 + 8 * _P),
    (Health, 192),
    (WebhookRequest, 8 + 14 * _P),
    (WebhookReply, 8 + 4 * _P),
    (Completion, 2 * _P),
    (BaseModule, 8 + 9 * _P),
]:
    if ctypes.sizeof(_struct) != _size:
        raise ImportError(f"{_struct.__name__} has {ctypes.sizeof(_struct)} bytes, the header says {_size}")
