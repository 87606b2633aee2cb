#!/usr/bin/env bash
# Drill of rebuild.md: rows, journal and index made anew beside the live ones, with workers running; one killed half-way.
. "$(dirname "$0")/steps.sh"

step "Something to rebuild, and an audit that has all of it"
for number in $(seq 1000); do
  printf '{"payload":{"text":"rebuilt note %d"},"namespace":"drill"}\n' "$number"
done | exits 0 soma produce -
id=$(exits 0 soma store --text "to be forgotten" --namespace drill --wait all -q)
exits 0 soma delete "$id" --reason drill --wait all
eventually caught_up
soma history "$id" -o jsonl >"$scratch/before"

step "The plan: nothing is changed, and nothing differs"
exits 0 soma replay --into kv | tee "$scratch/plan"
grep -Eq '^differences +none' "$scratch/plan" || fail "the rebuilt rows differ from the live ones"
exits 0 soma replay --into vector

step "One that is killed leaves nothing that anybody sees"
exits 137 timeout --signal KILL "${KILL_AFTER_S:-1}" soma replay --into kv --execute --yes
exits 0 soma get "$(soma list --namespace drill --limit 1 -q)" --fresh -q

step "Swapped in, while a memory is stored and the workers go on"
soma store --text "stored meanwhile" --namespace drill --wait all -q >"$scratch/meanwhile" &
exits 0 soma replay --into kv --execute --yes
exits 0 soma replay --into vector --execute --yes
wait $!
exits 0 soma get "$(cat "$scratch/meanwhile")" --fresh -q

step "Same history, same versions, and the workers are at it"
soma history "$id" -o jsonl | diff "$scratch/before" - || fail "the history differs"
eventually caught_up
exits 0 soma store --text "after the rebuild" --namespace drill --wait all -q
eventually caught_up
exits 0 soma lag --threshold 0
exits 0 soma doctor
