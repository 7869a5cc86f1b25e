"""A receiver that counts: writes and syncs one line (key, path, milliseconds) for every request, then answers after a small
random delay.

The file is the only witness of what was really sent, so it is written before the answer and by nobody else.
Usage: ledger.py FILE DELAY_MS_MAX. Prints its port, then each path as it is counted. Ends when standard input does, so
that it never outlives a test.
"""

import json
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
DELAY_S_MAX = int(sys.argv[2]) / 1000
LOCK = threading.Lock()


class Ledger(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def take(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        key = self.headers.get("idempotency-key") or "-"
        with LOCK:
            os.write(FILE, f"{key} {self.path} {time.time_ns() // 1_000_000}\n".encode())
            print(self.path, flush=True)  # first, so that a kill can come before its sender has done anything more
            os.fsync(FILE)
        time.sleep(random.uniform(0, DELAY_S_MAX))
        body = json.dumps({"counted": self.path}).encode()
        try:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            pass  # the sender was killed; the line above is what counts

    do_POST = do_PUT = take

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        pass  # a connection that a killed process left behind


server = Server(("127.0.0.1", 0), Ledger)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
