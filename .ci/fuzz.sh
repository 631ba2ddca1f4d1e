#!/usr/bin/env bash
# Runs every fuzz target of the project for some time each, as many at once as there are cores, and
# fails with a finding.
#
#   .ci/fuzz.sh SECONDS
#
# Starts from the corpus in git; what it finds of new inputs goes to target/fuzz-corpus/, a finding
# to target/fuzz-findings/ (put it into the corpus: a plain test replays that), what libFuzzer says
# to target/fuzz-run/.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

seconds=${1:?the seconds for each target}
need cargo "install Rust from https://rustup.rs"
need c++ "install a C++ compiler (libFuzzer is C++)"
# Sanitizers are unstable: without a nightly toolchain the stable one is told to allow them.
if cargo +nightly --version >/dev/null 2>&1; then
  fuzz=(cargo +nightly fuzz)
else
  fuzz=(env RUSTC_BOOTSTRAP=1 cargo fuzz)
fi
mapfile -d '' -t manifests < <(own_files 'crates/*/fuzz/Cargo.toml')
if ((${#manifests[@]} == 0)); then
  echo "fuzz: there is no crates/*/fuzz/Cargo.toml" >&2
  exit 1
fi
crates_tool cargo-fuzz 0.13.2
run=target/fuzz-run
rm -rf "$run"
mkdir -p "$run"

# Of one target, given as FOLDER NAME. (libFuzzer writes to the first corpus and only reads the others.)
fuzz_target() {
  local folder=$1 name=$2 room place log
  room=$(basename "$(dirname "$folder")")
  place=$room/$name log=$run/$room-$name.log
  mkdir -p "target/fuzz-corpus/$place" "target/fuzz-findings/$place" "$folder/corpus/$name"
  if "${fuzz[@]}" run --fuzz-dir "$folder" --target-dir "$ROOT/target/fuzz" "$name" \
    "target/fuzz-corpus/$place" "$folder/corpus/$name" -- \
    -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$ROOT/target/fuzz-findings/$place/" >"$log" 2>&1; then
    echo "$place: no finding, $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
  else
    echo "$place: a finding, see $log:"
    tail -n 20 "$log"
    return 1
  fi
}

targets=()
for manifest in "${manifests[@]}"; do
  folder=$(dirname "$manifest")
  "${fuzz[@]}" build --fuzz-dir "$folder" --target-dir "$ROOT/target/fuzz"
  for name in $("${fuzz[@]}" list --fuzz-dir "$folder"); do
    targets+=("$folder $name")
  done
done
cores=$(nproc)
rounds=$(((${#targets[@]} + cores - 1) / cores))
echo "fuzz: ${#targets[@]} targets, $cores at once, $seconds s each: about $((rounds * seconds)) s"
status=0
running=()
for target in "${targets[@]}"; do
  if ((${#running[@]} == cores)); then
    wait "${running[0]}" || status=1
    running=("${running[@]:1}")
  fi
  read -r folder name <<<"$target"
  fuzz_target "$folder" "$name" &
  running+=($!)
done
for pid in "${running[@]}"; do
  wait "$pid" || status=1
done
((status == 0)) && echo "fuzz: no finding"
exit "$status"
