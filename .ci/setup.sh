#!/usr/bin/env bash
# Installs the Debian packages that a purpose needs and that are not there yet.
#
#   .ci/setup.sh PURPOSE…      (test, lint, bench)
#
# Says nothing and touches nothing when all is there. Starts no service: while the packages are
# installed, a policy-rc.d forbids it. Uses sudo when not root.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

# What must be there (a command, or a file), and the package that brings it.
needs() {
  case $1 in
    test)
      echo chromium chromium
      echo chromedriver chromium-driver
      echo python3 python3
      echo strace strace
      ;;
    lint)
      echo git git
      echo python3 python3
      echo shellcheck shellcheck
      ;;
    bench)
      echo nginx nginx
      echo redis-server redis-server
      echo wrk wrk
      echo /usr/lib/nginx/modules/ngx_http_lua_module.so libnginx-mod-http-lua
      echo /usr/share/lua/5.1/nginx/redis.lua lua-nginx-redis
      ;;
    *)
      echo "setup.sh: unknown purpose '$1' (test, lint, bench)" >&2
      return 2
      ;;
  esac
}

is_there() {
  if [[ $1 == /* ]]; then [[ -e $1 ]]; else command -v "$1" >/dev/null; fi
}

missing_packages() {
  local purpose thing package table
  for purpose in "$@"; do
    table=$(needs "$purpose") || return
    while read -r thing package; do
      is_there "$thing" || echo "$package"
    done <<<"$table"
  done
  # The virtual environment of the lints needs pip inside it, which Debian packs apart.
  if [[ " $* " == *" lint "* ]] && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    echo python3-venv
  fi
}

as_root() {
  if ((EUID == 0)); then
    "$@"
  elif [[ -t 0 ]]; then
    sudo -- "$@"
  else
    # Nobody is there to type a password.
    sudo -n -- "$@"
  fi
}

policy=/usr/sbin/policy-rc.d
kept=$policy.before-paredao
mark='Placed by Paredão while it installs packages: starts no service.'

# Puts back the policy that stood before, also after a run that was killed half-way.
restore_policy() {
  if [[ -e $kept || -L $kept ]]; then
    as_root mv -f "$kept" "$policy"
  elif [[ -e $policy ]] && grep -qsF "$mark" "$policy"; then
    as_root rm -f "$policy"
  fi
}

forbid_services() {
  local forbidding=$TMPDIR/policy-rc.d
  restore_policy
  trap restore_policy EXIT
  trap 'exit 130' INT TERM HUP
  printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$forbidding"
  if [[ -e $policy || -L $policy ]]; then
    as_root mv -f "$policy" "$kept"
  fi
  as_root install -m 755 "$forbidding" "$policy"
  rm -f "$forbidding"
}

# Runs quietly; shows what was said only when it failed.
quietly() {
  local log=$TMPDIR/setup.log status=0
  "$@" >"$log" 2>&1 </dev/null || status=$?
  ((status == 0)) || cat "$log" >&2
  rm -f "$log"
  return "$status"
}

install_packages() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  forbid_services
  quietly as_root "${apt[@]}" update
  quietly as_root "${apt[@]}" install -y --no-install-recommends "$@"
}

# The test of a full disk mounts one in a namespace, as `serve_on_small_disk` of
# crates/paredao/tests/program/disk_full.rs does.
check_namespaces() {
  local unshare=(unshare --mount)
  ((EUID == 0)) || unshare=(unshare --user --map-root-user --mount)
  "${unshare[@]}" true 2>/dev/null && return
  echo "setup.sh: \`${unshare[*]}\` is refused here, and the test of a full disk needs it:" \
    "run as root, or allow it (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0;" \
    "a container: CAP_SYS_ADMIN)" >&2
  return 1
}

# Ubuntu's packages of these names hold no program, only a hint at the snap.
check_chromium() {
  grep -qsx 'ID=ubuntu' /etc/os-release && grep -q '^chromium' <<<"$1" || return 0
  echo "setup.sh: Ubuntu has Chromium only as a snap, which the tests cannot drive:" \
    "put \`chromium\` and \`chromedriver\` into the PATH by hand" >&2
  return 1
}

main() {
  local missing started
  started=$(now_us)
  [[ " $* " != *" test "* ]] || check_namespaces || return
  missing=$(missing_packages "$@")
  [[ -n $missing ]] || return 0
  check_chromium "$missing" || return
  mapfile -t missing < <(sort -u <<<"$missing")
  if ! command -v apt-get >/dev/null; then
    echo "setup.sh: this is no Debian; install by hand what brings: ${missing[*]}" >&2
    return 1
  fi
  ((EUID == 0)) || need sudo "install as root: apt-get install ${missing[*]}"
  echo "setup: installing ${missing[*]}"
  install_packages "${missing[@]}"
  echo "setup: installed in $(seconds_since "$started") s"
}

main "$@"
