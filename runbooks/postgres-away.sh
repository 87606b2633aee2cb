#!/usr/bin/env bash
# Drill of postgres-away.md: writes go on into the log, kv tries again for as long as it takes, nothing is lost.
. "$(dirname "$0")/steps.sh"
: "${STOP_POSTGRES:=$COMPOSE stop postgres}"
: "${START_POSTGRES:=$COMPOSE start postgres}"
: "${KV_METRICS:=http://127.0.0.1:9101}"

ready() { page "$KV_METRICS/readyz"; }
not_ready() { ! ready; }

step "A memory from before"
known=$(exits 0 soma store --text "stored before" --namespace drill --wait all -q)
exits 0 soma get "$known" -q
eventually ready

step "PostgreSQL goes away: writes go on, what is not in the cache cannot be read, the worker says what it waits for"
hook "$STOP_POSTGRES"
position=$(exits 0 soma store --text "stored meanwhile" --namespace drill -o json | tee "$scratch/receipt" |
  grep -o '"position":"[^"]*"' | cut -d '"' -f 4)
id=$(grep -o '"id":"[^"]*"' "$scratch/receipt" | cut -d '"' -f 4)
exits 4 soma get "$id"
exits 4 soma lag
eventually not_ready
exits 1 page "$KV_METRICS/readyz"
exits 0 page "$KV_METRICS/healthz"

step "It comes back: the workers go on by themselves"
hook "$START_POSTGRES"
eventually ready
eventually soma wait "$position"
exits 0 soma get "$id" -q
eventually caught_up
[ -z "$(soma dlq list -q)" ] || fail "there are dead letters"
exits 0 soma lag --threshold 0
