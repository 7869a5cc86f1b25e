"""Runs the drivers of `make bench-peers` one after another and prints one table (see README.md).

Everything that is looked at from outside is looked at here, in one way for all: the time from the start of the
process to its first workflow, memory of the process and its children, bytes on the disk. Nothing is asserted.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

STEPS = 10
SETTLED_S = 2.0
# Longer than any driver takes with the default sizes; one that hangs is ended and named.
DRIVER_S_MAX = float(os.environ.get("PEER_DRIVER_SECONDS", "600"))


def main():
    cache, drivers = Path(sys.argv[1]), json.load(sys.stdin)
    sizes = {"PEER_WORKFLOWS": "1000", "PEER_PARALLEL": "50", "PEER_SECONDS": "30", "PEER_FAN": "1000"}
    settings = {name: os.environ.get(name, default) for name, default in sizes.items()}
    seen = []
    for driver in drivers:
        print(f"… {driver['name']}", file=sys.stderr, flush=True)
        if "reason" in driver:
            seen.append({"name": driver["name"], "failed": driver["reason"]})
            continue
        folder = Path(tempfile.mkdtemp(prefix="data-", dir=cache))
        try:
            fsync = fsync_us(folder)
            seen.append({"name": driver["name"], "fsync_us": fsync, **run(driver, folder, settings)})
        except Failed as failure:
            seen.append({"name": driver["name"], "failed": str(failure)})
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    report(seen, settings, cache)
    if saved := os.environ.get("PEER_JSON"):
        Path(saved).write_text(json.dumps({"machine": machine(cache), "settings": settings, "seen": seen}, indent=1))


class Failed(Exception):
    """A driver that did not come to its end."""


def run(driver, folder, settings):
    """One driver from its start to its end."""
    environment = {**os.environ, **settings, **driver.get("env", {}), "PEER_FOLDER": str(folder),
                   "NODE_ENV": "production", "RESTATE_LOGGING": "ERROR"}
    begun = time.monotonic()
    process = subprocess.Popen(driver["command"], cwd=driver.get("cwd"), env=environment, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    complaints = []
    reader = threading.Thread(target=lambda: complaints.extend(process.stderr), daemon=True)
    reader.start()
    watchdog = threading.Timer(DRIVER_S_MAX, process.kill)
    watchdog.start()
    seen = {}
    try:
        for line in process.stdout:
            event = said(line)
            if event is not None:
                look(event, process.pid, folder, seen, time.monotonic() - begun)
                process.stdin.write("\n")
                process.stdin.flush()
        code = process.wait()
    except BrokenPipeError:
        code = process.wait()
    finally:
        watchdog.cancel()
        end(process)
        reader.join(5)
    if code != 0 or "done" not in seen:
        last = " ".join("".join(complaints[-3:]).split())[:300]
        after = ", ".join(name for name in ("first", "w2", "w1", "w3", "w4") if name in seen) or "nothing"
        raise Failed(f"ended with {code} after {after}: {last or 'it said nothing'}")
    return seen


def said(line):
    """An event of a driver. Engines write their logs to the same pipe: they are no objects with an event."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def end(process):
    """Nothing of a driver stays behind, also when it failed: its children first."""
    for pid in reversed(tree(process.pid)):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass
    process.wait()


def look(event, pid, folder, seen, seconds):
    """What an event says, and what is to be seen from outside at that moment."""
    kind = event["event"]
    if kind == "first":
        seen["start_ms"] = 1e3 * seconds
        time.sleep(SETTLED_S)
        seen["rss_idle"] = memory(pid, "VmRSS:")
    if kind == "w2":  # the load begins after it
        seen["disk_before"], seen["written_before"] = disk(folder), written(pid)
    if kind == "w1":
        done = max(1, len(event["latencies_ms"]))
        seen["disk_each"] = (disk(folder) - seen["disk_before"]) / done
        seen["written_each"] = (written(pid) - seen["written_before"]) / done
    if kind == "done":
        seen["rss_peak"] = memory(pid, "VmHWM:")
    seen[kind] = event


def tree(pid):
    """A process and everything below it."""
    pids = [pid]
    for each in pids:
        try:
            for task in os.listdir(f"/proc/{each}/task"):
                pids += map(int, Path(f"/proc/{each}/task/{task}/children").read_text().split())
        except FileNotFoundError:
            pass  # it has ended meanwhile
    return pids


def memory(pid, name):
    """MiB of a process and everything below it."""
    total = 0
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/status").read_text().splitlines()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith(name))
    return total / 1024


def disk(folder):
    """Bytes that the files below a folder occupy."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # a compaction took it away
    return total


def written(pid):
    """Bytes that a process and everything below it has sent to the disk."""
    total = 0
    for each in tree(pid):
        try:
            lines = Path(f"/proc/{each}/io").read_text().splitlines()
        except FileNotFoundError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))
    return total


def fsync_us(folder, times=100):
    """What the disk is like at the moment: one write and fsync of a page that a file has."""
    page, seen = os.urandom(4096), []
    with open(folder / "fsync", "wb") as file:
        file.write(page * times)
        file.flush()
        os.fsync(file.fileno())
        for n in range(times):
            begun = time.monotonic()
            os.pwrite(file.fileno(), page[::-1], n * 4096)
            os.fsync(file.fileno())
            seen.append(time.monotonic() - begun)
    os.unlink(folder / "fsync")
    return 1e6 * statistics.median(seen)


def machine(cache):
    """The machine in general terms."""
    memory_gb = int(Path("/proc/meminfo").read_text().split()[1]) / 1024**2
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    at = max((m for m in mounts if cache.resolve().is_relative_to(m[1])), key=lambda m: len(m[1]))
    kernel = os.uname().release.split("-")[0]
    return (f"{os.uname().machine}, {os.cpu_count()} cores, {memory_gb:.0f} GB memory, Linux {kernel}, {at[2]}, "
            f"load {os.getloadavg()[0]:.1f} at the end")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]


def rate(seen, kind):
    event = seen[kind]
    return STEPS * len(event["latencies_ms"]) / event["seconds"]


def median_ms(seen, kind):
    return statistics.median(seen[kind]["latencies_ms"])


def report(all_seen, settings, cache):
    print(f"\nMachine: {machine(cache)}; all data on one file system.")
    print(f"W1: {settings['PEER_WORKFLOWS']} workflows of {STEPS} trivial durable steps, {settings['PEER_PARALLEL']} in "
          f"parallel, at most {settings['PEER_SECONDS']} s. W2: one of them alone. W3: {settings['PEER_FAN']} trivial "
          f"steps at once in one workflow. W4: W1 with plain code in place of steps.\n")
    done = [seen for seen in all_seen if "done" in seen]
    rows = [
        ("version", lambda s: s["first"]["version"]),
        ("store", lambda s: s["first"]["store"]),
        ("durability", lambda s: s["first"]["durability"]),
        ("W1 steps/s", lambda s: f"{rate(s, 'w1'):,.0f}"),
        ("W1 workflows done", lambda s: f"{len(s['w1']['latencies_ms']):,}"),
        ("W1 workflows failed", lambda s: f"{s['w1'].get('failed', 0):,}"),
        ("W1 a workflow p50, ms", lambda s: f"{percentile(s['w1']['latencies_ms'], 0.5):,.1f}"),
        ("W1 a workflow p99, ms", lambda s: f"{percentile(s['w1']['latencies_ms'], 0.99):,.1f}"),
        ("W2 p50, ms", lambda s: f"{median_ms(s, 'w2'):,.2f}"),
        ("W3 median, ms", lambda s: f"{median_ms(s, 'w3'):,.1f}"),
        ("W4 steps/s", lambda s: f"{rate(s, 'w4'):,.0f}"),
        ("RSS idle, MiB", lambda s: f"{s['rss_idle']:,.0f}"),
        ("RSS peak, MiB", lambda s: f"{s['rss_peak']:,.0f}"),
        ("process start to the first workflow's end, ms", lambda s: f"{s['start_ms']:,.0f}"),
        ("on disk for each workflow of W1, bytes", lambda s: f"{s['disk_each']:,.0f}"),
        ("written to the disk for each of them, bytes", lambda s: f"{s['written_each']:,.0f}"),
        ("one write and fsync before it, us", lambda s: f"{s['fsync_us']:,.0f}"),
    ]
    table(["", *(s["name"] for s in done)], [[name, *(cell(s) for s in done)] for name, cell in rows])
    for seen in all_seen:
        if "failed" in seen:
            print(f"- {seen['name']} is not in the table: {seen['failed']}")
    ours = next((seen for seen in done if seen["name"] == "ChainBot"), None)
    if ours is None:
        return
    ratios(ours, [seen for seen in done if seen is not ours])
    raw(ours)


def ratios(ours, others):
    print("\nChainBot against each, in this run (W1, W4: times as many steps; the rest: times as long or as much for the peer):\n")
    rows = []
    for s in others:
        rows.append([s["name"], *(f"{value:,.1f}" for value in (
            rate(ours, "w1") / rate(s, "w1"), median_ms(s, "w2") / median_ms(ours, "w2"),
            median_ms(s, "w3") / median_ms(ours, "w3"), rate(ours, "w4") / rate(s, "w4"),
            s["rss_idle"] / ours["rss_idle"], s["start_ms"] / ours["start_ms"]))])
    table(["", "W1", "W2", "W3", "W4", "RSS idle", "start"], rows)


def raw(ours):
    seen = ours.get("raw")
    if seen is None:
        return
    print("SQLite alone with the rows of W1, each right after an engine that wrote them (medians of "
          f"{len(seen['engine_steps_per_s'])} pairs):\n")
    engine = seen["engine_steps_per_s"]
    rows = []
    for name, key in [("group commit, as many submitters", "group_commit_steps_per_s"), ("one loop", "one_loop_steps_per_s")]:
        share = statistics.median(e / r for e, r in zip(engine, seen[key]))
        rows.append([name, f"{statistics.median(seen[key]):,.0f}", f"{statistics.median(engine):,.0f}", f"{100 * share:.0f} %"])
    table(["", "raw steps/s", "engine steps/s", "engine of raw"], rows)


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


main()
