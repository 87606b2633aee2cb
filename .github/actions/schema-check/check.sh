#!/usr/bin/env bash
# What the action runs, and what another CI may run too. Read from the environment: AGAINST, SCHEMAS, MODE,
# ALLOW_UNDECIDED, GITHUB_BASE_REF (the branch that a pull request goes to), MERGE_BASE (the commit that a merge queue
# merges into), BEFORE (the commit before a push), DEFAULT_BRANCH and GITHUB_REF_NAME (what is built).
set -euo pipefail

# A shallow clone has only its own commit: the other one is fetched, and needs no history.
fetched() { git fetch --quiet --no-tags --depth=1 origin "$1" 2>&1; }

commit() { git cat-file -e "$1^{commit}" 2>/dev/null || fetched "$1"; }
branch() { fetched "+refs/heads/$1:refs/remotes/origin/$1"; }

against=${AGAINST:-}
if [ -n "$against" ]; then
    : # as it was asked for
elif [ -n "${GITHUB_BASE_REF:-}" ]; then
    branch "$GITHUB_BASE_REF"
    against=git:refs/remotes/origin/$GITHUB_BASE_REF
elif [ -n "${MERGE_BASE:-}" ]; then
    commit "$MERGE_BASE"
    against=git:$MERGE_BASE
elif [[ "${BEFORE:-}" =~ [1-9a-f] ]]; then # a new branch has zeros, and a run by hand or by the clock has none
    commit "$BEFORE"
    against=git:$BEFORE
elif [ -n "${DEFAULT_BRANCH:-}" ] && [ "${GITHUB_REF_NAME:-}" != "$DEFAULT_BRANCH" ]; then
    branch "$DEFAULT_BRANCH"
    against=git:refs/remotes/origin/$DEFAULT_BRANCH
else
    echo "::error::there is nothing before this to compare with: say what, with the input against (like released)"
    exit 2
fi

options=(--against "$against" --output github)
[ -z "${SCHEMAS:-}" ] || options+=(--schemas "$SCHEMAS")
[ -z "${MODE:-}" ] || options+=(--mode "$MODE")
[ "${ALLOW_UNDECIDED:-false}" != true ] || options+=(--allow-undecided)
exec soma schema check "${options[@]}"
