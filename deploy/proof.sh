#!/usr/bin/env bash
# make proof: the long sizes of everything, stage by stage, with what each found. A night on two cores.
# PART=20 takes a twentieth of each size; ONLY='engine|simulation' takes the stages whose names match.
set -uo pipefail
cd "$(dirname "$0")/.."

export CHAINBOT_PROOF=long CHAINBOT_PROOF_PART="${PART:-1}"
only=${ONLY:-.}
# PROFILE=dev spares building everything once more.
profile=()
[ "${PROFILE:-release}" = release ] && profile=(--release)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
declare -a summary=()
failed=0
started=$SECONDS

# Figures of the tests, each on a line of its own.
figures() {
    grep -hE '^(fault: [a-z]+:|runs [0-9]+, records|[0-9]+ runs, at most|[0-9]+ (kills|points|cycles|upgrades)|kill loop|power cut|overload:|CHAINBOT_SEED=.*FAILED)' "$1" | cut -c1-400
}

# Says that it is still at work: a stage may take hours.
alive() {
    while sleep 60; do
        printf '   … %s: %d min\n' "$1" $(((SECONDS - $2) / 60))
    done
}

stage() {
    local name=$1 begin=$SECONDS result=ok log="$work/log"
    shift
    [[ $name =~ $only ]] || return 0
    printf '\n== %s\n' "$name"
    alive "$name" "$begin" &
    local watcher=$!
    if ! "$@" >"$log" 2>&1; then
        result=FAILED
        failed=$((failed + 1))
        sed -n '/^failures:/,$p' "$log" | tail -n 200
        grep -E '^error' "$log" | head -n 20
    fi
    kill "$watcher" 2>/dev/null
    wait "$watcher" 2>/dev/null
    grep -E '^(test result|SKIPPED)' "$log" | grep -v ' 0 passed; 0 failed' | sort | uniq -c
    figures "$log" | sed 's/^/   /'
    local passed
    passed=$(grep -oE '[0-9]+ passed' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
    summary+=("$(printf '%-28s %-7s %5d tests %6d s' "$name" "$result" "$passed" $((SECONDS - begin)))")
}

core() {
    cargo test ${profile[@]+"${profile[@]}"} -p chainbot-core --lib -- --show-output "$@"
}

suite() {
    cargo test ${profile[@]+"${profile[@]}"} -p chainbot --test suite -- --show-output "$@"
}

printf '1/%s of the long sizes, %s\n' "${PART:-1}" "$(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')"
stage 'engine' core engine::
stage 'simulation' core runtime::tests::sim
stage 'stores' core store::
stage 'pins' core gpio::
stage 'kills' suite kill_loop:: stop_loop:: upgrade_load::
stage 'power cuts' suite power_cut::
stage 'overload' suite overload::
stage 'module' suite abi_proof:: validator::
stage 'models' env CHAINBOT_INTEROP=litellm CHAINBOT_REAL_LLM=qwen cargo test ${profile[@]+"${profile[@]}"} -p chainbot --test suite -- --show-output litellm:: real_model:: real_agents:: provider_faults::
stage 'boundary' cargo test ${profile[@]+"${profile[@]}"} -p chainbot-plugin --lib -- --show-output
stage 'fault points' cargo test --workspace --features chainbot-plugin/fault --test fault -- --show-output

printf '\n%s\n' "${summary[@]+"${summary[@]}"}"
printf '%-28s %-7s %5s       %6d s\n' 'all' "$([ "$failed" -eq 0 ] && echo ok || echo FAILED)" '' $((SECONDS - started))
[ "$failed" -eq 0 ]
