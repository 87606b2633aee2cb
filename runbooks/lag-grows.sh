#!/usr/bin/env bash
# Drill of lag-grows.md: kv stops, 1,500 events wait, the check finds it, and a worker that starts again makes up for it.
. "$(dirname "$0")/steps.sh"
: "${STOP_KV:=$COMPOSE stop kv}"
: "${START_KV:=$COMPOSE start kv}"

step "kv stops while events arrive"
exits 0 soma lag --threshold 0
hook "$STOP_KV"
for number in $(seq 1500); do
  printf '{"payload":{"text":"waiting note %d","number":%d},"namespace":"drill"}\n' "$number" "$number"
done | exits 0 soma produce -
id=$(exits 0 soma store --text "the last one" --namespace drill -q)

step "The check finds it, and names who is behind; the audit is not"
exits 7 soma lag --threshold 1000 --max-age 60s
is_worker kv stopped || fail "kv is not said to be stopped"
eventually is_worker audit active
exits 6 soma get "$id"
exits 7 soma doctor

step "kv starts again, and vector follows it"
hook "$START_KV"
eventually caught_up
exits 0 soma get "$id" -q
exits 0 soma search "waiting note" --namespace drill --limit 1 -q
exits 0 soma lag --threshold 1000 --max-age 60s
