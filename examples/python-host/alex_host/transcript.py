"""Plays a script of calls and prints the transcript; the language is in docs/abi/transcript.md."""

from __future__ import annotations

import re
import sys
import threading
from concurrent.futures import TimeoutError as NoAnswer
from typing import Callable, Dict, List, Optional, Set, Tuple, Union

from .abi import State, Status
from .host import Host
from .module import AlexError, Instance, Module, Reply

LINE_BYTES_MAX = 8192
SCRIPT_LINE_BYTES_MAX = 1024 * 1024
EVENTS_MAX = 1024
EVENT_WAIT_S = 10.0
ANSWER_WAIT_S = 40.0


class ScriptError(Exception):
    """The host could not do its part."""


class BrokenContract(Exception):
    """The module did not keep the contract."""


class KeepingHost(Host):
    """Keeps what the module publishes, and knows its subscriptions."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._events: List[Tuple[str, bytes]] = []
        self._ids: Set[str] = set()
        self._patterns: Dict[int, str] = {}

    def publish(self, topic: str, payload: bytes, event_id: str) -> Status:
        with self._changed:
            if event_id and event_id in self._ids:
                return Status.OK
            if len(self._events) >= EVENTS_MAX:
                return Status.BUSY
            if event_id:
                self._ids.add(event_id)
            self._events.append((topic, payload))
            self._changed.notify_all()
        return Status.OK

    def subscribe(self, pattern: str) -> int:
        number = super().subscribe(pattern)
        with self._changed:
            self._patterns[number] = pattern
        return number

    def unsubscribe(self, number: int) -> Status:
        with self._changed:
            return Status.OK if self._patterns.pop(number, None) is not None else Status.INVALID

    def routes(self, topic: str) -> bool:
        with self._changed:
            return any(matches(pattern, topic) for pattern in self._patterns.values())

    def take(self, pattern: str) -> Optional[Tuple[str, bytes]]:
        """The oldest kept event that matches; none after ten seconds without one."""

        def find() -> Optional[int]:
            return next((at for at, (topic, _) in enumerate(self._events) if matches(pattern, topic)), None)

        with self._changed:
            self._changed.wait_for(lambda: find() is not None, EVENT_WAIT_S)
            at = find()
            return None if at is None else self._events.pop(at)


def matches(pattern: str, topic: str) -> bool:
    """`*` is one segment, a last `#` all that follow, none included."""
    want, have = pattern.split("."), topic.split(".")
    if want[-1] == "#":
        want = want[:-1]
        have = have[: len(want)]
    return len(want) == len(have) and all(one in ("*", other) for one, other in zip(want, have))


class Session:
    """A script under way."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.host = KeepingHost()
        # Without a handle: what a script's calls are given before `initialize` and after `cleanup`.
        self.instance = Instance(module, self.host, None)
        self.saved: Dict[str, str] = {}
        self.document = b""

    def play(self, path: str) -> None:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
        for number, raw in enumerate(lines, 1):
            line = raw.rstrip(b" \t\r")
            if not line or line.startswith(b"#"):
                continue
            try:
                if len(line) > SCRIPT_LINE_BYTES_MAX:
                    raise ScriptError("the line is longer than 1 MiB")
                self.run(self.expand(line.decode("utf-8")))
            except (ScriptError, UnicodeDecodeError) as error:
                raise ScriptError(f"{path}, line {number}: {error}") from error
        self.finish()

    def finish(self) -> None:
        if self.instance.handle is not None:
            if self.instance.health().state not in (State.INITIALIZED, State.STOPPED):
                self.run("stop 10000")
            self.run("cleanup")
        if self.module.strays or self.module.open_count():
            raise BrokenContract(f"{self.module.strays} stray and {self.module.open_count()} missing completions")

    def expand(self, line: str) -> str:
        def value(found: "re.Match[str]") -> str:
            try:
                return self.saved[found[1]]
            except KeyError:
                raise ScriptError(f"nothing was saved as {found[1]}") from None

        return re.sub(r"\$\{([A-Za-z0-9_]+)\}", value, line)

    def run(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        runs: Dict[str, Callable[[str], None]] = {
            "describe": self.describe,
            "initialize": self.initialize,
            "start": lambda _: self.report("start", self.instance.start),
            "stop": lambda ms: self.report("stop", lambda: self.instance.stop(int(ms))),
            "cleanup": lambda _: self.report("cleanup", self.instance.cleanup),
            "event": lambda rest: self.event("event", rest),
            "force-event": lambda rest: self.event("force-event", rest),
            "webhook": self.webhook,
            "wait-event": self.wait_event,
            "save": self.save,
            "health": self.health,
            "extension": lambda name: say(
                f"extension {name} {'present' if self.instance.has_extension(name) else 'absent'}"
            ),
        }
        if command not in runs:
            raise ScriptError(f"unknown command: {command}")
        runs[command](rest)

    def report(self, head: str, call: Callable[[], None]) -> None:
        try:
            call()
            say(f"{head} OK")
        except AlexError as error:
            say(f"{head} {name_of(error.status)}" + (f" {error.message}" if error.message else ""))

    def describe(self, _: str) -> None:
        try:
            say(b"describe OK " + self.module.describe())
        except AlexError as error:
            say(f"describe {name_of(error.status)}")

    def initialize(self, config: str) -> None:
        if self.instance.handle is not None:
            raise ScriptError("an instance is live already")

        def call() -> None:
            self.instance = self.module.initialize(self.host, config)

        self.report("initialize", call)

    def event(self, command: str, rest: str) -> None:
        topic, _, payload = rest.partition(" ")
        if command == "event" and not self.host.routes(topic):
            say(f"event {topic} UNROUTED")
            return
        self.report(f"{command} {topic}", lambda: self.instance.event(topic, payload))

    def webhook(self, rest: str) -> None:
        method, path, headers, body = parse_webhook(rest)
        head = f"webhook {method} {path}"
        try:
            future = self.instance.request(method, path, headers, body)
        except AlexError as error:
            say(f"{head} {name_of(error.status)}" + (f" {error.message}" if error.message else ""))
            return
        self.document = b""
        try:
            reply = future.result(ANSWER_WAIT_S)
        except AlexError as error:
            say(f"{head} DONE {name_of(error.status)}")
            return
        except NoAnswer:
            raise BrokenContract(f"no completion: {head}") from None
        self.document = reply.body
        say(f"{head} DONE OK {reply.status} {content_type(reply)} ".encode() + reply.body)

    def wait_event(self, pattern: str) -> None:
        found = self.host.take(pattern)
        if found is None:
            say(f"wait-event {pattern} TIMEOUT")
            return
        topic, self.document = found
        say(f"wait-event {pattern} OK {topic} ".encode() + self.document)

    def save(self, rest: str) -> None:
        name, _, key = rest.partition(" ")
        pattern = rb'"%s"[ \t\r\n]*:[ \t\r\n]*(?:"([^"]*)"|([-0-9][-+.eE0-9]*))' % re.escape(key.encode())
        found = re.search(pattern, self.document)
        if found is None:
            raise ScriptError(f"the value was not found: {key}")
        value = found[1] if found[1] is not None else found[2]
        if b"\\" in value:
            raise ScriptError(f"a saved text holds a backslash: {key}")
        self.saved[name] = value.decode()

    def health(self, _: str) -> None:
        try:
            got = self.instance.health()
        except AlexError as error:
            say(f"health {name_of(error.status)}")
            return
        state = State(got.state).name.lower() if got.state in list(State) else str(got.state)
        say(
            f"health OK state={state} score={got.score:.2f} label={got.label} in_flight={got.in_flight}"
            f" queue_depth={got.queue_depth} panics={got.panics}"
            f" threads={'some' if got.live_threads else 'none'} detail={got.detail}"
        )


def name_of(status: Union[Status, int]) -> str:
    return status.name if isinstance(status, Status) else str(status)


def content_type(reply: Reply) -> str:
    value = reply.headers.get("content-type", "-")
    return (value[0] if isinstance(value, list) else value).split(";")[0]


def read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ScriptError(str(error)) from error


def parse_webhook(rest: str) -> Tuple[str, str, Dict[str, str], bytes]:
    """Reads `METHOD PATH [name: value]... -- BODY`."""
    words = rest.split(" ", 2)
    if len(words) < 2 or "" in words[:2]:
        raise ScriptError("write `webhook METHOD PATH [name: value] -- BODY`")
    headers: Dict[str, str] = {}
    rest = words[2] if len(words) == 3 else ""
    while rest.startswith("["):
        header, end, rest = rest[1:].partition("]")
        name, colon, value = header.partition(": ")
        if not end or not colon:
            raise ScriptError("a header is not `[name: value]`")
        if name in headers:
            raise ScriptError(f"a header stands twice: {name}")
        headers[name] = re.sub(r"@file:([^ ]*)", lambda found: read_file(found[1]).decode().rstrip(), value)
        rest = rest[1:] if rest.startswith(" ") else rest
    if rest.startswith("-- @file:"):
        return words[0], words[1], headers, read_file(rest[len("-- @file:") :])
    if rest.startswith("-- "):
        return words[0], words[1], headers, rest[3:].encode()
    if rest not in ("", "--"):
        raise ScriptError("expected `-- BODY`")
    return words[0], words[1], headers, b""


VOLATILE = re.compile(
    rb"(?<![A-Za-z0-9])(?:"
    rb"(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})|"
    rb"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d))|"
    rb"(?P<hash>[0-9a-f]{64}|[0-9a-f]{40}))(?![A-Za-z0-9])"
)
NUMBER = re.compile(rb"[-0-9][-+.eE0-9]*")


def stable(line: bytes) -> bytes:
    """Replaces what differs from run to run, from left to right."""
    out, at = bytearray(), 0
    while at < len(line):
        found = VOLATILE.match(line, at)
        name = found.lastgroup if found else None
        if found is None and line[at] in b"-0123456789" and line[:at].rstrip(b" ").endswith(b'_ms":'):
            found, name = NUMBER.match(line, at), "ms"
        if found is None:
            out.append(line[at])
            at += 1
        else:
            out += b"<%s>" % str(name).encode()
            at = found.end()
    return bytes(out)


def escaped(line: bytes) -> bytes:
    def one(c: str) -> str:
        short = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(c)
        if short is not None:
            return short
        if "\udc80" <= c <= "\udcff":  # a byte that is not part of valid UTF-8
            return f"\\x{ord(c) - 0xDC00:02x}"
        return f"\\x{ord(c):02x}" if c < " " or c == "\x7f" else c

    return "".join(map(one, line.decode("utf-8", "surrogateescape"))).encode()


def say(line: Union[str, bytes]) -> None:
    """Prints one line of the transcript."""
    text = escaped(stable(line.encode() if isinstance(line, str) else line))
    if len(text) > LINE_BYTES_MAX:
        text = text[:LINE_BYTES_MAX].decode("utf-8", "ignore").encode() + b"..."
    sys.stdout.buffer.write(text + b"\n")
    sys.stdout.buffer.flush()
