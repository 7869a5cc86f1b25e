"""What steps meet outside: an HTTP server and a mail server that behave, and misbehave, as the request says.

HTTP: `/CASE/BEHAVIOUR/...`, see `Web`. Mail: the local part of the receiver says it, see `Mail`. Prints its two ports, then one line
`CASE KEY` for each request as it comes. Ends when standard input does, so that it never outlives a test.
"""

import gzip
import json
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LOCK = threading.Lock()
SEEN = {}
BOMB = gzip.compress(bytes(64 * 1024 * 1024))


def told(case, key):
    with LOCK:
        print(case, key, flush=True)


def count(path):
    """How often this path was asked for, this time included."""
    with LOCK:
        SEEN[path] = SEEN.get(path, 0) + 1
        return SEEN[path]


class Web(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        _, case, act, *rest = url.path.split("/")
        told(case, self.headers.get("idempotency-key") or self.headers.get("webhook-id") or "-")
        try:
            getattr(self, "act_" + act)(rest, count(url.path), body, url)
        except OSError:
            pass  # the client went away, which is what some cases are about

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = serve

    def say(self, status, data, headers=()):
        raw = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.send_response(status)
        for name, value in [("content-type", "application/json"), ("content-length", str(len(raw))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(raw)

    def wait_for_the_client_to_go(self):
        self.close_connection = True
        self.connection.settimeout(120)
        self.rfile.read(1)

    def act_json(self, rest, n, body, url):
        self.say(200, {"ok": True, "n": n})

    def act_echo(self, rest, n, body, url):
        names = ("content-type", "x-test", "webhook-timestamp", "webhook-signature", "user-agent")
        told = {name: self.headers[name] for name in names if name in self.headers and not name.startswith("webhook")}
        signed = all(name in self.headers for name in ("webhook-id", "webhook-timestamp", "webhook-signature"))
        self.say(200, {"method": self.command, "query": url.query, "headers": told, "signed": signed, "body": body.decode()})

    def act_status(self, rest, n, body, url):
        self.say(int(rest[0]), {"no": rest[0]}, [("retry-after", "0")] if rest[0] in ("429", "503") else [])

    def act_flaky(self, rest, n, body, url):
        self.say(int(rest[1]) if n <= int(rest[0]) else 200, {"n": n})

    def act_hang(self, rest, n, body, url):
        self.wait_for_the_client_to_go()

    def act_hang_once(self, rest, n, body, url):
        if n == 1:
            return self.wait_for_the_client_to_go()
        self.say(200, {"n": n})

    def act_slow(self, rest, n, body, url):
        self.send_response(200)
        self.send_header("content-length", "100000")
        self.end_headers()
        while True:
            self.wfile.write(b" ")
            time.sleep(0.05)

    def act_short(self, rest, n, body, url):
        self.send_response(200)
        self.send_header("content-length", "100")
        self.end_headers()
        self.wfile.write(b"too short")
        self.close_connection = True

    def act_drop(self, rest, n, body, url):
        self.close_connection = True
        self.connection.close()

    def act_bomb(self, rest, n, body, url):
        self.say(200, BOMB, [("content-encoding", "gzip")])

    def act_big(self, rest, n, body, url):
        self.say(200, {"text": "x" * int(rest[0])})

    def act_nothttp(self, rest, n, body, url):
        self.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        self.close_connection = True

    def act_notjson(self, rest, n, body, url):
        self.say(200, b"{ no json")

    def act_deep(self, rest, n, body, url):
        self.say(200, b"[" * 200 + b"]" * 200)

    def act_many_headers(self, rest, n, body, url):
        self.say(200, {}, [(f"x-{i}", "1") for i in range(200)])

    def act_redirect(self, rest, n, body, url):
        left = int(rest[0])
        case = url.path.split("/")[1]
        to = f"/{case}/redirect/{left - 1}" if left else f"/{case}/json"
        self.say(302, {}, [("location", to)])

    def act_pages(self, rest, n, body, url):
        page, last = int(parse_qs(url.query).get("p", ["1"])[0]), int(rest[0])
        case = url.path.split("/")[1]
        following = f"http://{self.headers['host']}/{case}/pages/{last}?p={page + 1}"
        headers = [("link", f'<{following}>; rel="next"')] if page < last else []
        items = [page * 10, page * 10 + 1] if page <= last else []
        self.say(200, {"items": items, "next": following if page < last else None}, headers)

    def log_message(self, *_):
        pass

    def version_string(self):
        return "world"

    def date_time_string(self, timestamp=None):
        return "Sun, 22 Nov 2026 12:00:00 GMT"


class Mail(socketserver.StreamRequestHandler):
    """`CASE.BEHAVIOUR@example.com`: ok, refused (550), later (451), hang (no answer to the text), drop (closes after the text)."""

    def line(self):
        return self.rfile.readline(4096).decode("latin-1").strip()

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        acts = []
        try:
            self.say("220 world")
            while words := self.line():
                verb = words.split(" ")[0].upper()
                if verb == "EHLO":
                    self.wfile.write(b"250-world\r\n250 8BITMIME\r\n")
                elif verb == "RCPT":
                    case, _, act = words.split("<")[1].split("@")[0].partition(".")
                    told(case, act)
                    acts.append(act)
                    code = {"refused": "550 no such person", "later": "451 come back later"}.get(act, "250 ok")
                    self.say(code)
                elif verb == "DATA":
                    self.say("354 go on")
                    while self.line() != ".":
                        pass
                    if "drop" in acts:
                        return
                    if "hang" in acts:
                        self.connection.settimeout(120)
                        self.rfile.read(1)
                        return
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")
        except OSError:
            pass  # the client went away


class WebServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass  # a connection that a killed process left behind


class MailServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


web, mail = WebServer(("127.0.0.1", 0), Web), MailServer(("127.0.0.1", 0), Mail)
for server in (web, mail):
    threading.Thread(target=server.serve_forever, daemon=True).start()
print(web.server_address[1], mail.server_address[1], flush=True)
sys.stdin.read()
