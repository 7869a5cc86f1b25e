#!/usr/bin/env bash
# Follows the README as a new user would: make run, curl starts a workflow, its events arrive, Ctrl-C ends it all.
# Takes ports and a data folder of its own, so it disturbs nothing that runs here.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
make_pid=
# shellcheck disable=SC2317  # called by the trap
clean() {
    [ -z "$make_pid" ] || kill -TERM -- "-$make_pid" 2>/dev/null || true
    rm -rf "$work"
}
trap clean EXIT

fail() {
    printf 'make run: %s\n' "$*" >&2
    sed 's/^/  | /' "$work/out" >&2
    exit 1
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port=$(free_port)
service=$(free_port)
# A session of its own: SIGINT goes to the whole group, as from a terminal.
python3 - "$port" "$service" "$work" <<'PY' &
import os, signal, sys
port, service, work = sys.argv[1:]
os.setsid()
# A shell starts background jobs with SIGINT ignored; a terminal does not.
signal.signal(signal.SIGINT, signal.SIG_DFL)
out = os.open(work + "/out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
os.dup2(out, 1)
os.dup2(out, 2)
args = ["make", "run", "PROFILE=dev", "PORT=" + port, "EXAMPLES_PORT=" + service, "DATA_DIR=" + work + "/data"]
os.execvp("make", args)
PY
make_pid=$!

# 15 minutes: the first build is part of it.
for _ in $(seq 9000); do
    [ -f "$work/out" ] && grep -q '^Ctrl-C stops everything' "$work/out" && break
    kill -0 "$make_pid" 2>/dev/null || fail 'it ended before it was ready'
    sleep 0.1
done
grep -q '^Ctrl-C stops everything' "$work/out" || fail 'it did not become ready'

# The commands are those that it printed, so what a reader would copy is what is tested.
grep -A 1 '^Watch' "$work/out" | tail -n 1 >"$work/watch"
grep -A 2 '^Start the first' "$work/out" | tail -n 2 >"$work/start"
bash "$work/watch" >"$work/events" 2>/dev/null &
watch_pid=$!
# A listener that comes later than the run sees nothing: the first byte says that it listens.
for _ in $(seq 100); do [ -s "$work/events" ] && break; sleep 0.1; done
bash "$work/start" >"$work/started" 2>/dev/null || fail 'curl could not start the workflow'
grep -q '"workflow_name": *"fetch-and-summarise"' "$work/started" || fail "no run was started: $(cat "$work/started")"
for _ in $(seq 600); do
    grep -q '^event: *run.completed' "$work/events" && break
    sleep 0.1
done
grep -q '^event: *run.completed' "$work/events" || fail "no event of the run's end: $(cat "$work/events")"

kill -INT -- "-$make_pid"
for _ in $(seq 300); do kill -0 "$make_pid" 2>/dev/null || break; sleep 0.1; done
if kill -0 "$make_pid" 2>/dev/null; then fail 'it did not end on SIGINT'; fi
wait "$watch_pid" 2>/dev/null || true
for left in "$port" "$service"; do
    if curl -s -o "$work/left" "http://127.0.0.1:$left/"; then fail "it left a process behind, on port $left"; fi
done
grep -q '^ended' "$work/out" || fail 'the module did not stop cleanly'
make_pid=
echo 'make run: built, started, ran a workflow by curl, showed its events, stopped cleanly'
