#!/usr/bin/env bash
# Builds the workspace once, runs every suite, keeps going when one fails, and ends with a table and
# the line `N passed, N failed`. What each suite printed stays in target/test-run/.
#
#   ROUNDS=N .ci/test.sh      (kills at random instants in the chaos suite; default 10)
set -uo pipefail
source "$(dirname "$0")/environment.sh"

run=$ROOT/target/test-run
rounds=${ROUNDS:-10}
started=$(now_us)

need cargo "install Rust from https://rustup.rs"
need cc "install a C compiler"
.ci/setup.sh test bench || exit 1

# Neither the caller's settings nor the caller's home reach a test, and no test writes there.
for variable in "${!PAREDAO_@}"; do
  unset "$variable"
done
export CARGO_HOME=${CARGO_HOME:-$HOME/.cargo}
export RUSTUP_HOME=${RUSTUP_HOME:-$HOME/.rustup}
export PYTHONDONTWRITEBYTECODE=1
export INSTA_UPDATE=no
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
export SUITE_RUN=$run
rm -rf "$run" "$TMPDIR"
mkdir -p "$run" "$TMPDIR/home"
: >"$run/verdicts"

# The test programs and the programs they start, all of one profile.
build() {
  echo "building every crate and its tests"
  cargo test --workspace --no-run && cargo build --workspace --bins
}

# One call of cargo over the whole workspace, so that every crate is built with the same features as
# in `build`, and nothing twice. The runner makes each test program a suite with its own seconds.
cargo_suites() {
  local host status=0
  host=$(rustc -vV | sed -n 's/^host: //p')
  # (The environment variable for a runner would split a path at its blanks.)
  HOME=$TMPDIR/home cargo test --config "target.$host.runner=['$ROOT/.ci/suite.sh']" \
    --workspace --no-fail-fast --lib --bins --tests || status=1
  # A suite that could not even be started left no verdict.
  if ((status != 0)) && ! awk -F '\t' '$3 > 0 { found = 1 } END { exit !found }' "$run/verdicts"; then
    printf 'cargo test\t0\t1\t0\t0.0\n' >>"$run/verdicts"
  fi
  return "$status"
}

suite() {
  HOME=$TMPDIR/home SUITE_NAME=$1 .ci/suite.sh "${@:2}"
}

documentation_suite() {
  suite "examples in the documentation" cargo test --workspace --doc --no-fail-fast
}

chaos_suites() {
  local chaos=("$CARGO_TARGET_DIR/debug/paredao-loadtest" chaos) status=0
  suite "chaos, $rounds random instants" "${chaos[@]}" --rounds "$rounds" || status=1
  suite "chaos, every failure point" "${chaos[@]}" --every-point --seed 1 || status=1
  return "$status"
}

# New files outside target/, which is where everything a test writes belongs.
untracked() {
  git status --porcelain --untracked-files=all 2>/dev/null | sort
}

# What the tests left behind is a failure like any other. (Processes are looked for after each suite.)
check_tree() {
  local strays leftovers
  # A browser that its driver ends has no time to remove its own. (A folder for each browser would
  # do, but the socket in there may have no longer path than 107 bytes: unix(7).)
  find "$TMPDIR" -maxdepth 1 -name 'org.chromium.*' -exec rm -rf {} +
  leftovers=$(find "$TMPDIR" -mindepth 1 -maxdepth 1 ! -name home)
  if [[ -n $leftovers ]]; then
    printf '\nthe tests left behind in target/tmp:\n%s\n' "$leftovers"
    printf 'nothing left in target/tmp\t0\t1\t0\t0.0\n' >>"$run/verdicts"
  fi
  strays=$(comm -13 <(echo "$tree_before") <(untracked))
  [[ -n $strays ]] || return 0
  printf '\nchanged in the tree while the tests ran:\n%s\n' "$strays"
  # On a developer's machine the developer may have done it.
  [[ ${CI:-} != true ]] || printf 'no file outside target/\t0\t1\t0\t0.0\n' >>"$run/verdicts"
}

summary() {
  awk -F '\t' -v build="$build_seconds" -v total="$(seconds_since "$started")" '
    BEGIN { printf "\n%-52s %7s %7s %9s\n", "suite", "passed", "failed", "seconds" }
    {
      passed += $2; failed += $3; ignored += $4
      if ($2 + $3 + $4 > 0) printf "%-52s %7d %7d %9.1f\n", $1, $2, $3, $5
    }
    END {
      printf "%-52s %7s %7s %9.1f\n", "build", "", "", build
      printf "%-52s %7d %7d %9.1f\n", "all", passed, failed, total
      if (ignored) printf "%d ignored\n", ignored
      printf "%d passed, %d failed\n", passed, failed
      exit failed > 0 || passed == 0
    }' "$run/verdicts"
}

tree_before=$(untracked)
build_started=$(now_us)
if ! build; then
  echo "the build failed after $(seconds_since "$build_started") s: no suite was run"
  echo "0 passed, 1 failed"
  exit 1
fi
build_seconds=$(seconds_since "$build_started")
echo "built in $build_seconds s"

status=0
cargo_suites || status=1
documentation_suite || status=1
chaos_suites || status=1
check_tree
summary || status=1
exit "$status"
