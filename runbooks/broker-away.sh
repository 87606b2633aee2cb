#!/usr/bin/env bash
# Drill of broker-away.md: a write while the brokers are away fails in bounded time, and the same call settles it later.
. "$(dirname "$0")/steps.sh"
: "${STOP_BROKER:=$COMPOSE stop kafka}"
: "${START_BROKER:=$COMPOSE start kafka}"

step "A memory from before"
known=$(exits 0 soma store --text "stored before" --namespace drill --wait all -q)
exits 0 soma get "$known" -q

step "The brokers go away: writes fail with exit 4, reads go on"
hook "$STOP_BROKER"
key="broker-away-$(date +%s)-$$"
exits 4 soma store --text "stored meanwhile" --namespace drill --idempotency-key "$key"
exits 0 soma get "$known" -q
exits 4 soma lag

step "They come back: the same call with the same key settles it, whatever became of the first"
hook "$START_BROKER"
store() { soma store --text "stored meanwhile" --namespace drill --idempotency-key "$key" --wait all -q; }
eventually store
id=$(exits 0 store)
[ "$(soma history "$id" -o jsonl | grep -c '"outcome":"applied"')" = 1 ] || fail "it was applied more than once"

step "The workers went on by themselves, and nothing went to the dead letters"
eventually caught_up
[ "$(worker_state kv)" = active ] || fail "no kv worker runs"
[ -z "$(soma dlq list -q)" ] || fail "there are dead letters"
exits 0 soma lag --threshold 0
