# What the drills share; sourced by them, not run. Settings come from the environment (SOMA_PROFILE=cluster ...).
# PATIENCE_S: seconds to wait for what should come true by itself.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${PATIENCE_S:=60}"
COMPOSE="docker compose -f docker-compose.dev.yml"

step() { printf '\n== %s\n' "$*"; }

fail() {
  printf 'drill failed: %s\n' "$*" >&2
  exit 1
}

# exits CODE COMMAND...: show the command, run it, and fail unless it ends with that exit code.
exits() {
  local wanted=$1 code=0
  shift
  printf '$ %s\n' "$*" >&2
  "$@" || code=$?
  [ "$code" = "$wanted" ] || fail "exit $code instead of $wanted: $*"
}

# eventually COMMAND...: until it succeeds, for PATIENCE_S at most.
eventually() {
  local deadline=$((SECONDS + PATIENCE_S))
  printf '# until: %s\n' "$*" >&2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || fail "not within $PATIENCE_S s: $*"
    sleep 0.5
  done
}

# hook COMMAND: one line of shell that stops or starts something, given by the environment.
hook() {
  printf '# %s\n' "${1%%$'\n'*}" >&2
  bash -c "$1" </dev/null >&2
}

# code_of FILE: the stable code of the error that a command with -o json wrote to standard error.
code_of() { grep -o '"code":"[a-z_]*"' "$1" | head -1 | cut -d '"' -f 4; }

# worker_state NAME: active, idle, stopped, unserved or out_of_range, as `soma lag` sees the workers of that name.
worker_state() {
  soma lag -o json | python3 -c '
import json, sys
print(next(g["state"] for g in json.load(sys.stdin)["groups"] if g["group"].endswith("-" + sys.argv[1])))' "$1"
}

# page URL: print what a worker's metrics port answers there, and fail unless the status is 200.
page() {
  python3 -c '
import sys, urllib.error, urllib.request
try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.read().decode().strip())
sys.exit(answer.status != 200)' "$1"
}

is_worker() { [ "$(worker_state "$1")" = "$2" ]; }
caught_up() { soma lag --threshold 0; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
