"""DBOS on SQLite under the work of `make bench-peers` (see README.md beside the folder of the peers).

Workflows and clients live in this process, as its documentation has it. Its settings are its defaults.
"""

import asyncio
import importlib.metadata
import json
import logging
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS

STEPS = 10


@DBOS.step()
def step(n):
    return n


@DBOS.step()
async def step_async(n):
    return n


@DBOS.workflow()
def steps():
    for n in range(STEPS):
        step(n)
    return "done"


@DBOS.workflow()
def pure():
    count = 0
    for n in range(STEPS):
        count = n
    return count


@DBOS.workflow()
async def fan(width):
    return len(await asyncio.gather(*(step_async(n) for n in range(width))))


def say(event):
    """Tells the harness, and waits until it has looked."""
    print(json.dumps(event), flush=True)
    sys.stdin.readline()


def timed(work):
    begun = time.monotonic()
    work()
    return (time.monotonic() - begun) * 1e3


def load(event, workflow):
    """Clients in a closed loop until the number of workflows or the time is used up."""
    workflows, parallel = int(os.environ["PEER_WORKFLOWS"]), int(os.environ["PEER_PARALLEL"])
    begun = time.monotonic()
    until = begun + float(os.environ["PEER_SECONDS"])
    left = iter(range(workflows))  # `next` on it is atomic in CPython

    def client(_):
        latencies = []
        while time.monotonic() < until and next(left, None) is not None:
            latencies.append(timed(workflow))
        return latencies

    with ThreadPoolExecutor(parallel) as clients:
        latencies = [ms for each in clients.map(client, range(parallel)) for ms in each]
    return {"event": event, "seconds": time.monotonic() - begun, "latencies_ms": latencies}


def main():
    folder = os.environ["PEER_FOLDER"]
    DBOS(config={"name": "peer", "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
                 "log_level": "ERROR", "application_version": "1"})
    DBOS.launch()
    logging.getLogger("dbos").setLevel(logging.ERROR)
    steps()
    say({"event": "first", "name": "DBOS", "version": importlib.metadata.version("dbos"),
         "store": "SQLite", "durability": durability(folder)})
    say({"event": "w2", "latencies_ms": [timed(steps) for _ in range(20)]})
    say(load("w1", steps))
    width = int(os.environ["PEER_FAN"])
    say({"event": "w3", "steps": width, "latencies_ms": [timed(lambda: asyncio.run(fan(width))) for _ in range(3)]})
    say(load("w4", pure))
    say({"event": "done"})
    DBOS.destroy()


def durability(folder):
    import sqlite3

    # The journal mode is a property of the file; the level of synchronisation is SQLite's default, since DBOS sets none.
    with sqlite3.connect(f"{folder}/dbos.sqlite") as conn:
        (mode,) = conn.execute("PRAGMA journal_mode").fetchone()
        (level,) = conn.execute("PRAGMA synchronous").fetchone()
    names = {0: "OFF", 1: "NORMAL", 2: "FULL", 3: "EXTRA"}
    return f"journal_mode={mode}, synchronous={names[level]}"


main()
