#!/usr/bin/env bash
# make test: everything a change must pass, stage by stage, with a summary at the end. All stages run, also after a
# failure, so that one look shows everything.
set -uo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
declare -a summary=()
failed=0
started=$SECONDS

stage() {
    local name=$1 begin=$SECONDS result=ok
    shift
    printf '\n== %s\n' "$name"
    if ! "$@"; then
        result=FAILED
        failed=$((failed + 1))
    fi
    summary+=("$(printf '%-28s %-7s %4d s' "$name" "$result" $((SECONDS - begin)))")
}

has_nextest() {
    cargo nextest --version >/dev/null 2>&1
}

# The header is compared by build.rs and by a test; this says it before anything long begins.
header() {
    cargo run --quiet -p chainbot-abi --example header >"$work/header.h" &&
        diff -u include/alex_module.h "$work/header.h" ||
        { echo 'include/alex_module.h is stale: run `make header`'; return 1; }
}

# Failures are shown when they happen; after the summary comes what passing tests said, which is for the skips only.
shown() {
    awk '/^ *Summary/ { print; over = 1 } over || /^ *PASS/ { next } { print; fflush() }'
}

tests() {
    # The stage before has built everything.
    export CHAINBOT_PREBUILT=1
    if has_nextest; then
        cargo nextest run --workspace --no-fail-fast --color never --success-output final 2>&1 |
            tee "$work/tests.log" | shown
    else
        cargo test --workspace --no-fail-fast --lib --bins --tests -- --show-output 2>&1 |
            tee "$work/tests.log" | grep -E --line-buffered '^(test .*FAILED|test result|error|running)|panicked at'
    fi
    local code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ] && ! has_nextest; then
        sed -n '/^failures:/,$p' "$work/tests.log" | tail -n 300
    fi
    return "$code"
}

# The same dependencies, and the core and the module once more with places for faults. Its files have names of their own.
fault_features=(--workspace --features chainbot-plugin/fault)

build() {
    cargo build --workspace --lib --bins &&
        cargo build "${fault_features[@]}" --test fault --example chainbot_plugin_fault
}

faults() {
    if has_nextest; then
        cargo nextest run "${fault_features[@]}" --test fault --no-fail-fast --color never --success-output final 2>&1 |
            tee "$work/fault.log" | shown
    else
        cargo test "${fault_features[@]}" --test fault -- --show-output 2>&1 |
            tee "$work/fault.log" | grep -E --line-buffered '^(test .*FAILED|test result|error|running|fault:)|panicked at'
    fi
    return "${PIPESTATUS[0]}"
}

doc_tests() {
    cargo test --workspace --doc 2>&1 | tee "$work/doc.log" | grep -E --line-buffered '^(test result|error|test .*FAILED)|Doc-tests|panicked'
    return "${PIPESTATUS[0]}"
}

# One TLS library, built from source that cargo brings: aws-lc needs cmake and doubles the binary.
no_aws_lc() {
    local tree
    tree=$(cargo tree --workspace -e normal,build --prefix none) || return 1
    ! grep '^aws-lc' <<<"$tree" || { echo 'aws-lc is in the tree: `cargo tree -i aws-lc-sys` says by whom'; return 1; }
}

skips() {
    local bad=0 name
    grep -hoE 'SKIPPED [a-z0-9_:-]+: .*' "$work/tests.log" 2>/dev/null | sort -u >"$work/skips" || true
    while read -r _ name _; do
        name=${name%:}
        grep -qE "^$name( |\$)" tests/golden/allowed-skips.txt || { echo "$name may not skip: tests/golden/allowed-skips.txt does not name it"; bad=1; }
    done <"$work/skips"
    return "$bad"
}

count() { # passed and failed of both logs
    local passed=0 bad=0 n
    local log
    for log in "$work/tests.log" "$work/fault.log"; do
        grep -q '^ *Summary' "$log" 2>/dev/null || continue
        n=$(sed -nE 's/^ *Summary .* ([0-9]+) passed.*/\1/p' "$log" | tail -n 1); passed=$((passed + ${n:-0}))
        n=$(sed -nE 's/^ *Summary .* ([0-9]+) failed.*/\1/p' "$log" | tail -n 1); bad=$((bad + ${n:-0}))
    done
    while read -r n; do passed=$((passed + n)); done < <(sed -nE 's/^test result: .* ([0-9]+) passed;.*/\1/p' "$work/tests.log" "$work/fault.log" "$work/doc.log" 2>/dev/null)
    while read -r n; do bad=$((bad + n)); done < <(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p' "$work/tests.log" "$work/fault.log" "$work/doc.log" 2>/dev/null)
    # A stage that fails without a failed test, such as the format, counts as one.
    [ "$failed" -eq 0 ] || [ "$bad" -gt 0 ] || bad=$failed
    echo "$passed passed, $bad failed"
}

stage 'format' cargo fmt --all --check
stage 'header' header
stage 'clippy' cargo clippy --workspace --all-targets --quiet -- -D warnings
stage 'no aws-lc' no_aws_lc
stage 'build' build
stage 'tests' tests
stage 'faults on purpose' faults
stage 'doc tests' doc_tests
stage 'skips are allowed ones' skips
stage 'make run' bash deploy/check-run.sh

printf '\n== summary (%d s)\n' $((SECONDS - started))
printf '%s\n' "${summary[@]}"
[ ! -s "$work/skips" ] || cat "$work/skips"
count
[ "$failed" -eq 0 ]
