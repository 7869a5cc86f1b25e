#!/usr/bin/env bash
# make proof: the long sizes of everything, stage by stage, with what each found. A night on two cores.
# PART=20 takes a twentieth of each size but of retention; ONLY='engine|simulation' takes the stages whose names match.
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
declare -A rows=() notes=() ran=()
failed=0
started=$SECONDS

order=(engine simulation stores retention pins kills 'power cuts' overload 'disks and broken builds' module models boundary 'fault points')

# The table of this version: a row a stage, of the run that came to it last.
version=$(sed -nE 's/^version = "(.*)"/\1/p' Cargo.toml | head -n 1)
page=docs/proof/$version.md
commit=$(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')
[ -z "$(git status --porcelain -- . ':!docs/proof' 2>/dev/null)" ] || commit+=', with changes'
part=${PART:-1}
machine="$(nproc) cores of $(sed -nE 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1), $(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB, Linux $(uname -r | grep -oE '^[0-9]+\.[0-9]+')"

# Figures of the tests and the seeds that they took, each on a line of its own.
figures() {
    grep -hE '^(fault: [a-z]+:|runs [0-9]+, records|[0-9]+ runs, at most|[0-9]+ (kills|points|cycles|upgrades|definitions|seeds|orderly|requests)|(kill|power|stop|upgrade|bad|broken|overload)[a-z_]*:|[a-z_]+: CHAINBOT_SEED=|CHAINBOT_SEED=)' "$1" | cut -c1-400
}

# What another run wrote of a stage that this one has not come to.
keep() {
    [ -f "$page" ] && [ -z "${ran[$1]:-}" ] || return 0
    rows[$1]=$(grep -F "| $1 |" "$page" | head -n 1)
    notes[$1]=$(grep -F -- "- $1: " "$page")
}

# Writes the table anew: after each stage, so that a night that is cut short leaves what it has.
write_page() {
    mkdir -p "$(dirname "$page")"
    local name
    for name in "${order[@]}"; do
        keep "$name"
    done
    {
        printf '# Proof of %s\n\n' "$version"
        printf 'Written by `make proof`: a row a stage, of the run that came to it last. The size is a part of the long one\n([proof](../proof.md)), never less than that of `make test`, and the build of the tests. Times are those of the tests, without the build.\n\n'
        printf '| stage | size | result | tests | time | when | commit | machine |\n|---|---|---|---|---|---|---|---|\n'
        for name in "${order[@]}"; do
            [ -z "${rows[$name]:-}" ] || printf '%s\n' "${rows[$name]}"
        done
        printf '\n## What they said\n\n'
        for name in "${order[@]}"; do
            [ -z "${notes[$name]:-}" ] || printf '%s\n' "${notes[$name]}"
        done
        local missing=''
        for name in "${order[@]}"; do
            [ -n "${rows[$name]:-}" ] || missing+=", $name"
        done
        [ -z "$missing" ] || printf '\nNot run in this version: %s.\n' "${missing#, }"
    } >"$work/page" && mv "$work/page" "$page"
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
    printf '%s\n' "${order[@]}" | grep -qxF "$name" || { echo "the table does not know the stage $name"; exit 1; }
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
    # Of the tests alone: a build before them is another matter.
    local passed took
    took=$(grep -oE 'finished in [0-9.]+' "$log" | awk '{ sum += $3 } END { printf "%.0f", sum }')
    passed=$(grep -oE '[0-9]+ passed' "$log" | awk '{ sum += $1 } END { print sum + 0 }')
    summary+=("$(printf '%-28s %-7s %5d tests %6d s' "$name" "$result" "$passed" $((SECONDS - begin)))")
    ran[$name]=yes
    rows[$name]="| $name | 1/$part, ${PROFILE:-release} | $result | $passed | $took s | $(date -u '+%Y-%m-%d %H:%M') | $commit | $machine |"
    notes[$name]=$({ figures "$log"; grep -hoE 'SKIPPED [a-z0-9_:-]+: .*' "$log" | sort -u; } | sed "s/^/- $name: /")
    write_page
}

core() {
    cargo test ${profile[@]+"${profile[@]}"} -p chainbot-core --lib -- --show-output "$@"
}

suite() {
    cargo test ${profile[@]+"${profile[@]}"} --workspace --test suite -- --show-output "$@"
}

printf '1/%s of the long sizes, %s\n' "${PART:-1}" "$(git rev-parse --short HEAD 2>/dev/null || echo 'no commit')"
stage 'engine' core engine::
stage 'simulation' core runtime::tests::sim
stage 'stores' core store:: --skip many_short_runs
# Half a million commits and their retention: the size does not take part in PART, or it would be another question.
part=1 stage 'retention' env CHAINBOT_PROOF_PART=1 cargo test ${profile[@]+"${profile[@]}"} -p chainbot-core --lib -- --show-output many_short_runs
stage 'pins' core gpio::
stage 'kills' suite kill_loop:: stop_loop:: upgrade_load::
stage 'power cuts' suite power_cut::
stage 'overload' suite overload::
stage 'disks and broken builds' suite bad_disk:: broken_builds::
stage 'module' suite abi_proof:: validator::
stage 'models' env CHAINBOT_INTEROP=litellm CHAINBOT_REAL_LLM=qwen cargo test ${profile[@]+"${profile[@]}"} --workspace --test suite -- --show-output litellm:: real_model:: real_agents:: provider_faults::
stage 'boundary' cargo test ${profile[@]+"${profile[@]}"} -p chainbot-plugin --lib -- --show-output
stage 'fault points' cargo test --workspace --features chainbot-plugin/fault --test fault -- --show-output

printf '\n%s\n' "${summary[@]+"${summary[@]}"}"
printf '%-28s %-7s %5s       %6d s\n' 'all' "$([ "$failed" -eq 0 ] && echo ok || echo FAILED)" '' $((SECONDS - started))
[ "$failed" -eq 0 ]
