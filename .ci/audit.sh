#!/usr/bin/env bash
# Licences, banned crates and sources of everything that is linked in, by deny.toml. Advisories are
# asked for only with ADVISORIES=1, because their database is fetched from the network.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

need cargo "install Rust from https://rustup.rs"
need cc "install a C compiler"
crates_tool cargo-deny 0.20.2

what=(licenses bans sources)
[[ ${ADVISORIES:-} != 1 ]] || what+=(advisories)
cargo deny --locked check "${what[@]}"
