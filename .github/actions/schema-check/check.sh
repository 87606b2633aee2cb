#!/usr/bin/env bash
# What the action runs, and what another CI may run too. Read from the environment: AGAINST, SCHEMAS, MODE,
# ALLOW_UNDECIDED, GITHUB_BASE_REF (the branch that a pull request goes to), BEFORE (the commit before a push).
set -euo pipefail

# A shallow clone has only its own commit: the other one is fetched, and needs no history.
fetched() { git fetch --quiet --no-tags --depth=1 origin "$1" 2>&1; }

against=${AGAINST:-}
if [ -z "$against" ] && [ -n "${GITHUB_BASE_REF:-}" ]; then
    fetched "+refs/heads/$GITHUB_BASE_REF:refs/remotes/origin/$GITHUB_BASE_REF"
    against=git:refs/remotes/origin/$GITHUB_BASE_REF
elif [ -z "$against" ] && [[ "${BEFORE:-}" =~ [1-9a-f] ]]; then # a new branch has zeros
    git cat-file -e "$BEFORE^{commit}" 2>/dev/null || fetched "$BEFORE"
    against=git:$BEFORE
fi

options=(--against "${against:-released}" --output github)
[ -z "${SCHEMAS:-}" ] || options+=(--schemas "$SCHEMAS")
[ -z "${MODE:-}" ] || options+=(--mode "$MODE")
[ "${ALLOW_UNDECIDED:-false}" != true ] || options+=(--allow-undecided)
exec soma schema check "${options[@]}"
