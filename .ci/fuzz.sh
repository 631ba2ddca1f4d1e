#!/usr/bin/env bash
# Runs every fuzz target of the project for some time each and ends at the first finding.
#
#   .ci/fuzz.sh SECONDS
#
# Starts from the corpus in git; what it finds of new inputs goes to target/fuzz-corpus/, a finding
# to target/fuzz-findings/ (put it into the corpus: a plain test replays that).
set -euo pipefail
source "$(dirname "$0")/environment.sh"

seconds=${1:?the seconds for each target}
need cargo "install Rust from https://rustup.rs"
need c++ "install a C++ compiler (libFuzzer is C++)"
if ! cargo +nightly --version >/dev/null 2>&1; then
  echo "fuzz: needs a nightly toolchain: rustup toolchain install nightly" >&2
  exit 1
fi
mapfile -d '' -t manifests < <(own_files 'crates/*/fuzz/Cargo.toml')
if ((${#manifests[@]} == 0)); then
  echo "fuzz: there is no crates/*/fuzz/Cargo.toml" >&2
  exit 1
fi
crates_tool cargo-fuzz 0.13.2

fuzz_target() {
  local folder=$1 name=$2 place
  place=$(basename "$(dirname "$folder")")/$name
  mkdir -p "target/fuzz-corpus/$place" "target/fuzz-findings/$place" "$folder/corpus/$name"
  echo "── $place, $seconds s"
  # libFuzzer writes to the first corpus and only reads the others.
  cargo +nightly fuzz run --fuzz-dir "$folder" --target-dir "$ROOT/target/fuzz" "$name" \
    "target/fuzz-corpus/$place" "$folder/corpus/$name" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$ROOT/target/fuzz-findings/$place/"
}

for manifest in "${manifests[@]}"; do
  folder=$(dirname "$manifest")
  names=$(cargo +nightly fuzz list --fuzz-dir "$folder")
  for name in $names; do
    fuzz_target "$folder" "$name"
  done
done
echo "fuzz: no finding"
