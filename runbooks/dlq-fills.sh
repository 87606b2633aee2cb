#!/usr/bin/env bash
# Drill of dlq-fills.md: a foreign writer's bad records are set aside one by one; a storm of them stops kv, and a person
# lets it go on. It settles the letters of its own making, so it runs only where there are no others.
# FOREIGN_WRITER appends each line of its input to memory.events under the key $KEY.
. "$(dirname "$0")/steps.sh"
TOPIC="${SOMA_LOG__TOPIC_PREFIX:-}memory.events"
: "${FOREIGN_WRITER:=$COMPOSE run --rm -T kcat -P -t $TOPIC -k \$KEY}"
: "${START_KV:=$COMPOSE start kv}"
export KEY=0191d0a0-0000-7000-8000-000000000d1a
storm=${STORM:-60} # more than worker.max_rejects_in_a_row

foreign() { KEY=$KEY bash -c "$FOREIGN_WRITER"; }
letters() { soma dlq list -q | wc -l; }
has_letters() { [ "$(letters)" -ge "$1" ]; }

step "No dead letters yet"
[ "$(letters)" = 0 ] || fail "there are dead letters: settle them first, this drill discards letters"

step "A bad record is set aside, and its neighbours are not held up"
echo "this is no JSON" | foreign
id=$(exits 0 soma store --text "a good neighbour" --namespace drill --wait all -q)
exits 0 soma get "$id" -q
eventually has_letters 1
exits 7 soma doctor
source=$(soma dlq list -o jsonl | grep -o '"source":"[^"]*"' | cut -d '"' -f 4)
exits 0 soma dlq list
exits 0 soma dlq show "$source"
exits 5 soma dlq retry "$source"
exits 0 soma dlq discard "$source"

step "Too many in a row stop kv: the fault lies elsewhere"
seq "$storm" | sed 's/^/still no JSON /' | foreign
eventually is_worker kv stopped
exits 7 soma consume kv --until-end
[ "$(letters)" -lt "$storm" ] || fail "the storm was drained into the dead letters"

step "The writer is mended; a person says that these really are bad, and kv goes on"
exits 0 soma consume kv --until-end --max-rejects 0
hook "$START_KV"
eventually is_worker kv active
exits 0 soma dlq discard --all --execute --yes >"$scratch/discarded"
eventually caught_up
exits 0 soma store --text "after the storm" --namespace drill --wait all -q
[ "$(letters)" = 0 ] || fail "there are letters left"
exits 0 soma doctor
