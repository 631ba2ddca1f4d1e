#!/usr/bin/env bash
# Runs one suite of tests, shows and keeps what it prints, and notes its verdict.
#
#   SUITE_RUN=FOLDER [SUITE_NAME=NAME] .ci/suite.sh PROGRAM [ARGUMENT…]
#
# cargo calls this for every test program (CARGO_TARGET_…_RUNNER, set by .ci/test.sh); other suites
# are started with a SUITE_NAME. Appends to FOLDER/verdicts one line: name, passed, failed, ignored,
# seconds, separated by tabs. A process that outlives its suite is a failure of that suite.
set -uo pipefail

: "${SUITE_RUN:?the folder for verdicts and logs}"
# Longer than any suite needs: one that hangs is ended and named, and the others still run.
SUITE_SECONDS_MAX=${SUITE_SECONDS_MAX:-1800}
# What a suite has started may take this long to end after it.
GRACE_TENTHS=30

# From target/debug/deps/paredao_domain-0123456789abcdef: the package and the name of the program.
name_of_program() {
  local program
  program=$(basename "$1")
  program=${program%-*}
  if [[ ${program//_/-} == "${CARGO_PKG_NAME:-}" ]]; then
    echo "$CARGO_PKG_NAME"
  else
    echo "${CARGO_PKG_NAME:-}::$program"
  fi
}

# The running processes of this suite: those of its session, and those that left the session and
# still carry its mark in their environment. Zombies hold nothing and are not ours to reap.
survivors() {
  {
    # After the name in parentheses: state, parent, group, session.
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v leader="$leader" '
      { pid = $1; sub(/^.*\) /, "") }
      $4 == leader { print pid }'
    grep -lsazFx "SUITE_MARK=$mark" /proc/[0-9]*/environ | cut -d / -f 3
  } | sort -nu | while read -r pid; do
    grep -qs '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$pid/status" && echo "$pid"
  done
}

# Waits a moment for the survivors to end; names and ends by id those that do not.
left_behind() {
  local pids tenth pid
  for ((tenth = 0; tenth < GRACE_TENTHS; tenth++)); do
    pids=$(survivors)
    [[ -n $pids ]] || return 1
    sleep 0.1
  done
  for pid in $pids; do
    echo "left behind by $name: $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
    kill -KILL "$pid" 2>/dev/null
  done
}

# Adds up the `test result:` lines; a suite that prints none is itself one test.
count() {
  awk -v status="$status" '
    /^test result: / {
      for (word = 2; word <= NF; word++) {
        if ($word == "passed;") passed += $(word - 1)
        if ($word == "failed;") failed += $(word - 1)
        if ($word == "ignored;") ignored += $(word - 1)
      }
      results++
    }
    END {
      if (!results) { passed = (status == 0); failed = 0 }
      if (status != 0 && failed == 0) failed = 1
      printf "%d\t%d\t%d\n", passed, failed, ignored
    }' "$log"
}

# shellcheck disable=SC2317 # the trap calls it
interrupted() {
  # `timeout` hands the signal on to what it runs.
  kill -TERM "$leader" 2>/dev/null
  left_behind >&2
  exit 130
}

name=${SUITE_NAME:-$(name_of_program "$1")}
unset SUITE_NAME
log=$SUITE_RUN/$(tr -c 'A-Za-z0-9_\n-' '_' <<<"$name").log
mark=$(basename "$SUITE_RUN")/$name/$$
leader=0

printf '\n── %s\n' "$name"
: >"$log"
started=$EPOCHREALTIME
SUITE_MARK=$mark setsid timeout --kill-after=20 "$SUITE_SECONDS_MAX" "$@" >"$log" 2>&1 </dev/null &
leader=$!
trap interrupted INT TERM HUP
tail -n +1 -s 0.2 --pid="$leader" -f "$log" &
follower=$!
wait "$leader"
status=$?
ended=$EPOCHREALTIME
wait "$follower"

((status != 124)) || echo "$name did not end within $SUITE_SECONDS_MAX s" | tee -a "$log"
if left_behind | tee -a "$log" | grep .; then
  status=1
fi
tenths=$(((${ended//[.,]/} - ${started//[.,]/}) / 100000))
seconds=$((tenths / 10)).$((tenths % 10))
IFS=$'\t' read -r passed failed ignored < <(count)
printf '%s\t%d\t%d\t%d\t%s\n' "$name" "$passed" "$failed" "$ignored" "$seconds" >>"$SUITE_RUN/verdicts"
echo "── $name: $passed passed, $failed failed, $seconds s"
exit "$status"
