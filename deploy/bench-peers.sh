#!/usr/bin/env bash
# What `make bench-peers` does: installs durable engines of others into a cache folder, from their registries by their
# ordinary clients, gives them and ChainBot the same work one after another, and prints one table. benches/peers/README.md
# says what is measured and how. One that cannot be installed is named with the reason; the others go on.
#
# PEERS="chainbot duroxide dbos restate node-red"  which ones, in which order
# CB_PEERS_CACHE  the cache folder; its file system is the one that is measured
# CB_BENCH_ENGINE  a bench program of ChainBot that is built already
# PEER_WORKFLOWS PEER_PARALLEL PEER_SECONDS PEER_FAN PEER_DRIVER_SECONDS PEER_JSON  see benches/peers/README.md
set -euo pipefail
cd "$(dirname "$0")/.."

peers=${PEERS:-chainbot duroxide dbos restate node-red}
cache=${CB_PEERS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/chainbot-peers}
sources=$PWD/benches/peers
mkdir -p "$cache"
command -v python3 >/dev/null || { echo "python3 is missing: it runs the drivers and prints the table" >&2; exit 2; }

needs() { command -v "$1" >/dev/null || { echo "$1 is not installed" >&2; return 1; }; }

# Each prints nothing but what went wrong, and leaves its program in the cache.
install_chainbot() {
  needs cargo
  if [[ -n ${CB_BENCH_ENGINE:-} ]]; then
    [[ -x $CB_BENCH_ENGINE ]] || { echo "CB_BENCH_ENGINE: $CB_BENCH_ENGINE is no program" >&2; return 1; }
    engine=$CB_BENCH_ENGINE
    return
  fi
  cargo bench --quiet --no-run --profile release --bench engine --message-format json >"$cache/engine.json"
  engine=$(python3 -c '
import json, sys
found = [m.get("executable") for m in map(json.loads, open(sys.argv[1])) if m.get("target", {}).get("name") == "engine"]
print(next(path for path in reversed(found) if path))' "$cache/engine.json")
}
install_duroxide() {
  needs cargo
  mkdir -p "$cache/duroxide/src"
  cp -p "$sources/duroxide/Cargo.toml" "$cache/duroxide/"
  cp -p "$sources/duroxide/src/main.rs" "$cache/duroxide/src/"
  cargo build --quiet --release --manifest-path "$cache/duroxide/Cargo.toml" --target-dir "$cache/duroxide/target"
}
install_dbos() {
  needs python3
  mkdir -p "$cache/dbos"
  [[ -x $cache/dbos/venv/bin/python ]] || python3 -m venv "$cache/dbos/venv"
  "$cache/dbos/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$sources/dbos/requirements.txt"
}
npm_install() {
  needs npm && needs node
  mkdir -p "$cache/$1"
  cp -p "$sources/$1/package.json" "$sources/$1/driver.mjs" "$sources/harness.mjs" "$cache/$1/"
  (cd "$cache/$1" && npm install --silent --no-audit --no-fund --no-progress >/dev/null)
}
install_restate() { npm_install restate; }
install_node-red() { npm_install node-red; }

declare -A called=([chainbot]=ChainBot [duroxide]=duroxide [dbos]=DBOS [restate]=Restate [node-red]=Node-RED)
list=()
for peer in $peers; do
  [[ -n ${called[$peer]:-} ]] || { echo "unknown peer $peer: choose from ${!called[*]}" >&2; exit 2; }
  echo "installing ${called[$peer]}" >&2
  # Not in a condition: `set -e` is off inside one, and a failed step would be taken for a success.
  set +e
  if [[ $peer == chainbot ]]; then
    install_chainbot 2>"$cache/$peer.log"; code=$?
  else
    (set -e; "install_$peer") 2>"$cache/$peer.log"; code=$?
  fi
  set -e
  case $peer in
    chainbot) command=("${engine:-}") ;;
    duroxide) command=("$cache/duroxide/target/release/peer-duroxide") ;;
    dbos) command=("$cache/dbos/venv/bin/python" "$sources/dbos/driver.py") ;;
    *) command=(node "$cache/$peer/driver.mjs") ;;
  esac
  list+=("$code" "${called[$peer]}" "$cache/$peer.log" "${#command[@]}" "${command[@]}")
done

python3 -c '
import json, sys
words, drivers = iter(sys.argv[1:]), []
for code in words:
    name, log, count = next(words), next(words), int(next(words))
    driver = {"name": name, "command": [next(words) for _ in range(count)], "env": {"CB_BENCH_ONLY": "peer"}}
    if code != "0":
        said = " ".join(open(log, errors="replace").read().split())[-300:]
        driver["reason"] = f"it could not be installed: {said or code}"
    drivers.append(driver)
print(json.dumps(drivers))' "${list[@]}" | python3 "$sources/run.py" "$cache"
