#!/usr/bin/env bash
# make run: builds ChainBot, starts it under host-shim with the example workflows, and says what to try.
# Ctrl-C (or SIGTERM) ends everything that was started here, and nothing else.
set -euo pipefail
cd "$(dirname "$0")/.."

PROFILE=${PROFILE:-release}
PORT=${PORT:-8000}
EXAMPLES_PORT=${EXAMPLES_PORT:-8090}
DATA_DIR=${DATA_DIR:-./data}
# A database is opened within a second; a slow card that recovers many runs may take longer.
READY_TRIES=300

fail() {
    printf 'make run: %s\n' "$*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null 2>&1 || fail "$1 is missing. $2"
}

need cargo 'Install Rust from https://rustup.rs, then open a new terminal.'
need cc 'On Debian, Ubuntu and Raspberry Pi OS: sudo apt-get install build-essential'
[[ $PORT =~ ^[0-9]+$ && $EXAMPLES_PORT =~ ^[0-9]+$ ]] || fail 'PORT and EXAMPLES_PORT are numbers.'
case $PROFILE in
    release) built=release flags=(--release) ;;
    dev) built=debug flags=() ;;
    *) fail "PROFILE is release or dev, not $PROFILE" ;;
esac

echo "Building ($PROFILE); the first time takes several minutes, later ones seconds."
cargo build --workspace --lib --bins ${flags[@]+"${flags[@]}"}
# cargo knows where its output goes: CARGO_TARGET_DIR and .cargo/config.toml may say.
target=$(cargo metadata --no-deps --format-version 1 | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')
bin=$target/$built

mkdir -p "$DATA_DIR"
chmod 700 "$DATA_DIR"
data=$(cd "$DATA_DIR" && pwd)
config=$PWD/examples/config.yaml
service="http://127.0.0.1:$EXAMPLES_PORT"
service_input=
if [ "$EXAMPLES_PORT" != 8090 ]; then
    sed "s/8090/$EXAMPLES_PORT/" "$config" >"$data/examples-config.yaml"
    config=$data/examples-config.yaml
    service_input="\"service\": \"$service\""
fi

host_pid='' server_pid=''
# shellcheck disable=SC2317  # called by the traps
end() {
    trap '' INT TERM HUP
    for pid in $host_pid $server_pid; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in $host_pid $server_pid; do
        wait "$pid" 2>/dev/null || true
    done
    trap - EXIT
}
trap end EXIT
# With job control each child is a group of its own, so Ctrl-C reaches only this script, which hands it on once:
# host-shim takes a second signal as the wish to end at once.
set -m
trap 'end; echo "Stopped. Runs that were under way go on at the next make run."; exit 0' INT TERM HUP

if command -v python3 >/dev/null 2>&1; then
    python3 examples/server/server.py --port "$EXAMPLES_PORT" --quiet </dev/null &
    server_pid=$!
else
    echo 'python3 is missing, so the example service does not run: examples that fetch something will fail.'
fi

"$bin/host-shim" run --module "$bin/libchainbot_plugin.so" --config "$config" --data "$data" \
    --set "api.port=$PORT" </dev/null &
host_pid=$!

ready() {
    "$bin/chainbot" health --data "$data" --config "$config" >/dev/null 2>&1
}
tries=0
until ready; do
    kill -0 "$host_pid" 2>/dev/null || { wait "$host_pid" || true; host_pid=; fail 'the module did not start; the lines above say why.'; }
    tries=$((tries + 1))
    [ "$tries" -lt "$READY_TRIES" ] || fail 'the module does not answer.'
    sleep 0.1
done
if [ -n "$server_pid" ] && ! kill -0 "$server_pid" 2>/dev/null; then
    wait "$server_pid" 2>/dev/null || true
    server_pid=
    echo "The example service did not start; is port $EXAMPLES_PORT taken? Set EXAMPLES_PORT to another."
fi
"$bin/chainbot" deploy examples/workflows --data "$data" --config "$config"

url=$("$bin/chainbot" status --data "$data" --config "$config" --json | sed -nE 's/^ *"url": "([^"]*)".*/\1/p' | head -n 1)
url=${url:-http://127.0.0.1:$PORT}
cat <<TEXT

ChainBot runs.
  API      $url/api/chainbot
  token    $data/token  (send it as: Authorization: Bearer ...)
  data     $data
  service  $service  (what the examples talk to)

Watch what happens, in a second terminal:
  curl -N -H "Authorization: Bearer \$(cat '$data/token')" $url/api/chainbot/events

Start the first workflow, in a third:
  curl -X POST -H "Authorization: Bearer \$(cat '$data/token')" -H 'Content-Type: application/json' \\
    -d '{"inputs": {$service_input}}' $url/api/chainbot/workflows/fetch-and-summarise/runs

Or with the command line, which finds address and token by itself:
  $bin/chainbot run examples/workflows/fan-out/workflow.yaml --data '$data'${service_input:+ --input service=$service}
  $bin/chainbot runs --data '$data'

Ctrl-C stops everything.
TEXT

status=0
wait "$host_pid" || status=$?
host_pid=
exit "$status"
