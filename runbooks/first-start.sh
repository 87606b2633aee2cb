#!/usr/bin/env bash
# Drill of first-start.md: a new cluster takes a memory, every projection passes it, and nothing is left to complain of.
# Needs: the servers of the settings, and workers (compose starts them; else `soma consume all`).
. "$(dirname "$0")/steps.sh"

step "Topics, tables and collection; a second run changes nothing"
exits 0 soma init
exits 0 soma init | tee "$scratch/init"
grep -q "nothing to make" "$scratch/init" || fail "the second init made something"

step "A memory is stored, and read as soon as its projections have passed it"
id=$(exits 0 soma store --text "Alice prefers window seats" --namespace drill --wait all -o json |
  tee "$scratch/receipt" | grep -o '"id":"[^"]*"' | cut -d '"' -f 4)
cat "$scratch/receipt"
exits 0 soma get "$id" --fresh
exits 0 soma search "window seats" --namespace drill -q | grep -qx "$id" || fail "search does not find it"

step "It is changed and forgotten, and its history stays"
exits 0 soma update "$id" --text "Alice prefers aisle seats" --wait all
exits 0 soma delete "$id" --reason drill --wait all
exits 6 soma get "$id"
[ "$(soma history "$id" -o jsonl | wc -l)" = 3 ] || fail "the history does not have three events"

step "Every projection has passed the whole log, and nothing is wrong"
eventually caught_up
exits 0 soma lag --threshold 0
exits 0 soma doctor
