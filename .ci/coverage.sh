#!/usr/bin/env bash
# Which lines the tests reach: builds everything apart, instrumented, runs the tests of cargo, and
# writes a table and HTML. Programs that a test kills with SIGKILL leave no profile: what only they
# ran is missing here.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

need cargo "install Rust from https://rustup.rs"
need cc "install a C compiler"
.ci/setup.sh test bench

place=$ROOT/target/coverage
html=$place/html

# The LLVM tools of the compiler's own version: its component, else those of the system.
llvm_tools() {
  local bin version
  bin=$(rustc --print target-libdir)/../bin
  if [[ ! -x $bin/llvm-cov ]]; then
    version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    if command -v "llvm-cov-$version" >/dev/null; then
      profdata=llvm-profdata-$version cov=llvm-cov-$version
      return
    fi
    echo "coverage: adding the component llvm-tools to the toolchain"
    rustup component add llvm-tools || {
      echo "coverage: needs LLVM $version: rustup component add llvm-tools, or Debian's llvm-$version" >&2
      return 1
    }
  fi
  profdata=$bin/llvm-profdata cov=$bin/llvm-cov
}

# Every program that was built: those of the tests, and those that the tests start.
programs() {
  {
    cargo test --workspace --no-run --message-format json
    cargo build --workspace --bins --message-format json
  } | python3 -c '
import json, sys
for line in sys.stdin:
    program = json.loads(line).get("executable")
    if program:
        print(program)'
}

llvm_tools
export CARGO_TARGET_DIR=$place/build
export RUSTFLAGS="-C instrument-coverage"
export LLVM_PROFILE_FILE=$place/profiles/%p-%16m.profraw
export INSTA_UPDATE=no
rm -rf "$place/profiles" "$html"
mkdir -p "$place/profiles"

objects=()
while read -r program; do
  objects+=(--object "$program")
done < <(programs | sort -u)
((${#objects[@]} > 0))

tests=0
cargo test --workspace --no-fail-fast --lib --bins --tests || tests=1

find "$place/profiles" -name '*.profraw' >"$place/profiles.txt"
"$profdata" merge --sparse --failure-mode=all --input-files "$place/profiles.txt" \
  --output "$place/all.profdata"
# Ours only, and not the tests themselves.
options=(--instr-profile "$place/all.profdata"
  --ignore-filename-regex '(/registry/|/rustc/|/build/|/tests/|/tests\.rs$)' "${objects[@]}")
"$cov" show --format html --output-dir "$html" "${options[@]}"
"$cov" report "${options[@]}"
echo "HTML: ${html#"$ROOT"/}/index.html"
exit "$tests"
