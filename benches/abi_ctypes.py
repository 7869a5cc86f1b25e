"""The rows of the boundary's table that are measured from Python; `make bench` runs it.

    abi_ctypes.py OVERHEAD_MODULE MODULE
"""

import ctypes
import statistics
import sys
import time

from alex_host import Host, Module, abi

BATCHES, CALLS, REQUESTS = 50, 2_000, 3_000


class Silent(Host):
    def log(self, level, target, message, fields):
        pass


def row(what, unit, samples):
    samples.sort()
    last = samples[round((len(samples) - 1) * 0.99)]
    print(f"| {what} | {samples[0]:.1f} {unit} | {statistics.median(samples):.1f} {unit} | {last:.1f} {unit} |")


start = Module.load(sys.argv[1]).table.start
err = ctypes.byref(abi.ErrorBuf(None, 0, 0))
samples = []
for _ in range(BATCHES):
    begun = time.perf_counter_ns()
    for _ in range(CALLS):
        start(None, err)
    samples.append((time.perf_counter_ns() - begun) / CALLS)
row("a call from Python ctypes", "ns", samples)

module = Module.load(sys.argv[2])
samples = []
with module.initialize(Silent(), {"data_dir": "data", "values": {"api": {"port": None}}}) as instance:
    instance.start()
    for _ in range(REQUESTS):
        begun = time.perf_counter_ns()
        reply = instance.request("GET", "/api/chainbot/health/live").result(30)
        samples.append((time.perf_counter_ns() - begun) / 1000)
        if reply.status != 200:
            sys.exit(f"the module answered {reply.status}")
row("a request from Python, until `result()` returns", "µs", samples)
