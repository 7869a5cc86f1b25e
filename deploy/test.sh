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

tests() {
    # The stage before has built everything.
    export CHAINBOT_PREBUILT=1
    if has_nextest; then
        cargo nextest run --workspace --no-fail-fast --color never --success-output final 2>&1 |
            tee "$work/tests.log" | grep -E --line-buffered '^ *(FAIL|SIGABRT|SIGSEGV|TIMEOUT|SLOW|Starting|Summary|error)|panicked at|warning:'
    else
        cargo test --workspace --no-fail-fast --lib --bins --tests -- --show-output 2>&1 |
            tee "$work/tests.log" | grep -E --line-buffered '^(test .*FAILED|test result|error|running)|panicked at'
    fi
    local code=${PIPESTATUS[0]}
    if [ "$code" -ne 0 ]; then
        sed -n '/^─*$/,$p; /^failures:/,$p' "$work/tests.log" | tail -n 300
    fi
    return "$code"
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
    if grep -q '^ *Summary' "$work/tests.log" 2>/dev/null; then
        n=$(sed -nE 's/^ *Summary .* ([0-9]+) passed.*/\1/p' "$work/tests.log" | tail -n 1); passed=$((passed + ${n:-0}))
        n=$(sed -nE 's/^ *Summary .* ([0-9]+) failed.*/\1/p' "$work/tests.log" | tail -n 1); bad=$((bad + ${n:-0}))
    fi
    while read -r n; do passed=$((passed + n)); done < <(sed -nE 's/^test result: .* ([0-9]+) passed;.*/\1/p' "$work/tests.log" "$work/doc.log" 2>/dev/null)
    while read -r n; do bad=$((bad + n)); done < <(sed -nE 's/^test result: .* ([0-9]+) failed;.*/\1/p' "$work/tests.log" "$work/doc.log" 2>/dev/null)
    # A stage that fails without a failed test, such as the format, counts as one.
    [ "$failed" -eq 0 ] || [ "$bad" -gt 0 ] || bad=$failed
    echo "$passed passed, $bad failed"
}

stage 'format' cargo fmt --all --check
stage 'header' header
stage 'clippy' cargo clippy --workspace --all-targets --quiet -- -D warnings
stage 'no aws-lc' no_aws_lc
stage 'build' cargo build --workspace --lib --bins
stage 'tests' tests
stage 'doc tests' doc_tests
stage 'skips are allowed ones' skips
stage 'make run' bash deploy/check-run.sh

printf '\n== summary (%d s)\n' $((SECONDS - started))
printf '%s\n' "${summary[@]}"
[ ! -s "$work/skips" ] || cat "$work/skips"
count
[ "$failed" -eq 0 ]
