# shellcheck shell=bash
# Sourced first by every script here: where the tree is, where its output goes, how seconds and
# steps are printed. Everything that is built, installed or written stays under target/.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
ROOT=$PWD
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin
export CARGO_TARGET_DIR=$ROOT/target
export TMPDIR=$ROOT/target/tmp
TOOLS=$ROOT/target/tools
readonly ROOT TOOLS
mkdir -p "$TMPDIR"

# Microseconds since the epoch. (EPOCHREALTIME has six decimals after a point or a comma.)
now_us() {
  printf '%s\n' "${EPOCHREALTIME//[.,]/}"
}

# seconds_since START_US: the time since then, as 12.3
seconds_since() {
  local tenths=$((($(now_us) - $1) / 100000))
  printf '%d.%d\n' $((tenths / 10)) $((tenths % 10))
}

# need COMMAND WHAT-TO-DO: one line and the end when the command is missing.
need() {
  command -v "$1" >/dev/null && return
  echo "$1 is missing: $2" >&2
  exit 1
}

# own_files PATTERN…: the project's own files that match any of the git patterns (tracked ones,
# and new ones that are not ignored), each ended by NUL.
own_files() {
  local file
  while IFS= read -r -d '' file; do
    [[ -f $file ]] && printf '%s\0' "$file"
  done < <(git ls-files -z --cached --others --exclude-standard -- "$@")
}

# crates_tool CRATE VERSION: a command from the crate registry, compiled once into target/tools.
crates_tool() {
  local stamp=$TOOLS/$1-$2
  if [[ ! -e $stamp ]]; then
    echo "$1 $2 is compiled into target/tools; this takes some minutes, once"
    cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" "$1" --version "$2" || return
    rm -rf "$TOOLS/build"
    touch "$stamp"
  fi
  PATH=$TOOLS/bin:$PATH
}
