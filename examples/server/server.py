#!/usr/bin/env python3
"""The service that the example workflows talk to: small, local, and the same answers every time.

    python3 examples/server/server.py [--host 127.0.0.1] [--port 8090] [--quiet]

Port 0 takes a free one; the first line of output names it. Only the standard library is needed.

    GET  /                       what there is
    GET  /articles[?topic=T]     four articles: id, topic, title, words, text
    GET  /articles/{id}          one of them
    GET  /items?count=N          N numbers to work on (1 to 1000, default 100): {"items": [{"id", "value"}]}
    POST /items/{id}/process     {"id", "result"}: the number doubled
    POST /flaky                  503 for the first two tries of an Idempotency-Key, then 200 with the try's number
    GET  /readings               a day's readings of three sensors
    POST /orders                 makes an order out of {"customer", "items"}; a key makes it once only
    POST /orders/{id}/{action}   reserve, charge, ship or cancel; a key does it once only
    GET  /orders/{id}            the order, with what was done to it, in order

Everything is kept in memory. An Idempotency-Key is answered the second time with the first answer, as a service
should: that is what makes a step that is tried again harmless.
"""

import argparse
import json
import re
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BODY_BYTES_MAX = 64 * 1024
# Keys and orders kept; an example needs a handful, and memory must not grow with the number of runs.
KEPT_MAX = 10_000
FAILING_TRIES = 2

ARTICLES = [
    {"id": 1, "topic": "energy", "title": "A roof that pays its rent", "words": 820,
     "text": "Solar cells on a rented roof earned more than the flat below it."},
    {"id": 2, "topic": "garden", "title": "Water at four in the morning", "words": 410,
     "text": "Beds watered before sunrise needed a third less water."},
    {"id": 3, "topic": "energy", "title": "The fridge that waits", "words": 640,
     "text": "Cooling when power is cheap saves a tenth of the bill."},
    {"id": 4, "topic": "home", "title": "Three sensors are enough", "words": 300,
     "text": "Most homes can be understood with a door, a power and a temperature sensor."},
]
READINGS = {
    "day": "2026-03-01",
    "sensors": [
        {"name": "cellar", "unit": "C", "values": [11.5, 11.0, 10.5, 11.0]},
        {"name": "kitchen", "unit": "C", "values": [19.0, 21.5, 22.5, 20.0]},
        {"name": "greenhouse", "unit": "C", "values": [6.0, 18.0, 31.5, 12.5]},
    ],
}
ACTIONS = {"reserve": "reserved", "charge": "charged", "ship": "shipped", "cancel": "cancelled"}


class Memory:
    """What the service remembers. One lock: requests come from several threads and every change is short."""

    def __init__(self):
        self.lock = threading.Lock()
        self.tries = {}
        self.answers = {}
        self.orders = {}

    def flaky(self, key):
        with self.lock:
            tries = self.tries.get(key, 0) + 1
            if key in self.tries or len(self.tries) < KEPT_MAX:
                self.tries[key] = tries
            return tries

    def once(self, key, work):
        """The first answer to a key; without a key the work is done each time."""
        with self.lock:
            if key and key in self.answers:
                return self.answers[key]
            answer = work()
            if key and len(self.answers) < KEPT_MAX:
                self.answers[key] = answer
            return answer

    def order(self, order):
        if len(self.orders) >= KEPT_MAX:
            return 507, {"error": "the example keeps no more orders; start it again"}
        name = f"order-{len(self.orders) + 1}"
        total = sum(item["price"] * item.get("count", 1) for item in order["items"])
        self.orders[name] = {"id": name, "customer": order["customer"], "items": order["items"],
                             "total": total, "history": ["created"]}
        return 201, self.orders[name]

    def act(self, name, action):
        order = self.orders.get(name)
        if order is None:
            return 404, {"error": f"there is no order {name}"}
        order["history"].append(ACTIONS[action])
        return 200, {"id": name, "status": ACTIONS[action]}


class Handler(BaseHTTPRequestHandler):
    """One request. Connections are kept, so a fan-out does not open a hundred."""

    protocol_version = "HTTP/1.1"
    server_version = "chainbot-example"
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self):
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        path = address.path
        if path == "/":
            return self.reply(200, {"service": "ChainBot examples", "about": __doc__.strip().splitlines()[0]})
        if path == "/articles":
            topic = query.get("topic", [None])[0]
            return self.reply(200, [a for a in ARTICLES if topic in (None, a["topic"])])
        if match := re.fullmatch(r"/articles/(\d{1,9})", path):
            found = [a for a in ARTICLES if a["id"] == int(match[1])]
            return self.reply(200, found[0]) if found else self.reply(404, {"error": "no such article"})
        if path == "/items":
            text = query.get("count", ["100"])[0]
            if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= 1000:
                return self.reply(400, {"error": "count is a number from 1 to 1000"})
            return self.reply(200, {"items": [{"id": n, "value": n * 3} for n in range(1, int(text) + 1)]})
        if path == "/readings":
            return self.reply(200, READINGS)
        if match := re.fullmatch(r"/orders/([\w-]{1,40})", path):
            with self.server.memory.lock:
                order = self.server.memory.orders.get(match[1])
                copy = json.loads(json.dumps(order))
            return self.reply(200, copy) if copy else self.reply(404, {"error": "no such order"})
        return self.reply(404, {"error": f"nothing at {path}; GET / says what there is"})

    def do_POST(self):
        body = self.body()
        if body is None:
            return None
        path = urlsplit(self.path).path
        key = self.headers.get("Idempotency-Key", "")[:200]
        memory = self.server.memory
        if path == "/flaky":
            tries = memory.flaky(key)
            if tries <= FAILING_TRIES:
                return self.reply(503, {"error": "not yet", "try": tries})
            return self.reply(200, {"ok": True, "try": tries})
        if match := re.fullmatch(r"/items/(\d{1,9})/process", path):
            if not isinstance(body, dict) or not isinstance(body.get("value"), int):
                return self.reply(422, {"error": "send {\"value\": a whole number}"})
            return self.reply(200, {"id": int(match[1]), "result": body["value"] * 2})
        if path == "/orders":
            if problem := order_problem(body):
                return self.reply(422, {"error": problem})
            return self.reply(*memory.once(key, lambda: memory.order(body)))
        if match := re.fullmatch(r"/orders/([\w-]{1,40})/(reserve|charge|ship|cancel)", path):
            return self.reply(*memory.once(key, lambda: memory.act(match[1], match[2])))
        return self.reply(404, {"error": f"nothing at {path}; GET / says what there is"})

    def body(self):
        """The JSON of the request; None when the answer is given already."""
        text = self.headers.get("Content-Length", "0")
        length = int(text) if text.isdigit() else BODY_BYTES_MAX + 1
        if length > BODY_BYTES_MAX:
            # What was not read would be taken for the next request of the connection.
            self.close_connection = True
            return self.reply(413, {"error": f"at most {BODY_BYTES_MAX} bytes, with Content-Length"})
        raw = self.rfile.read(length)
        try:
            return json.loads(raw) if raw else {}
        except ValueError as error:
            return self.reply(400, {"error": f"not JSON: {error}"})

    def reply(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format, *args):
        if not self.server.quiet:
            sys.stderr.write(f"example service: {format % args}\n")


def order_problem(body):
    """What is wrong with a new order, in words; nothing when it is fine."""
    if not isinstance(body, dict) or not isinstance(body.get("customer"), str):
        return "send {\"customer\": text, \"items\": [...]}"
    items = body.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= 100:
        return "items is a list of 1 to 100"
    for item in items:
        numbers = isinstance(item, dict) and (item.get("price"), item.get("count", 1))
        if not numbers or not all(type(n) is int and 0 <= n <= 1_000_000 for n in numbers):
            return "an item is {\"name\", \"price\": cents, \"count\"}"
    return None


class Service(ThreadingHTTPServer):
    """The service: threads end with the process, and a fan-out may come all at once."""

    daemon_threads = True
    request_queue_size = 128


def main():
    parser = argparse.ArgumentParser(description="The service that the example workflows talk to")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--quiet", action="store_true", help="no line for each request")
    args = parser.parse_args()
    try:
        service = Service((args.host, args.port), Handler)
    except OSError as error:
        sys.exit(f"example service: {args.host}:{args.port}: {error.strerror}; choose another with --port")
    service.memory = Memory()
    service.quiet = args.quiet
    print(f"example service: http://{args.host}:{service.server_port}", flush=True)

    def end(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        service.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        service.server_close()


if __name__ == "__main__":
    main()
