#!/usr/bin/env bash
# Drill of schema-migration.md: memory.event gets an optional field, in staging and then in production; old and new
# producers side by side; the registry goes away; and the field is taken back. soma's own schemas are not touched.
. "$(dirname "$0")/steps.sh"
: "${STAGING_REGISTRY:=}"
: "${STOP_REGISTRY:=$COMPOSE stop registry}"
: "${START_REGISTRY:=$COMPOSE start registry}"

schemas=$scratch/schemas
working=$schemas/memory.event.json
mkdir "$schemas"
cp schemas/memory.event.json "$working"
python3 - "$scratch/soma.yaml" "$STAGING_REGISTRY" "${SOMA_REGISTRY__URL:?the registry of production}" <<'END'
import json, sys
file, staging, production = sys.argv[1:]
places = {"staging": {"kind": "confluent_http", "url": staging} if staging else {"kind": "files"},
          "production": {"kind": "confluent_http", "url": production}}
json.dump({"profiles": {name: {"registry": registry} for name, registry in places.items()}}, open(file, "w"))
END

# with_profiles COMMAND...: the registries of the two profiles; what the environment says of one would beat both.
with_profiles() { env -u SOMA_REGISTRY__KIND -u SOMA_REGISTRY__URL SOMA_CONFIG="$scratch/soma.yaml" "$@"; }
staging() { with_profiles soma --profile staging schema "$@" --schemas "$schemas"; }
production() { with_profiles soma --profile production schema "$@" --schemas "$schemas"; }
promote() { with_profiles soma schema promote --from staging --to production --schemas "$schemas" "$@"; }

# edit PYTHON: change the working version; `schema` is its JSON.
edit() {
  python3 - "$working" "$1" <<'END'
import json, sys
schema = json.load(open(sys.argv[1]))
exec(sys.argv[2])
json.dump(schema, open(sys.argv[1], "w"), indent=2)
END
}

# writes CODE VALIDATE SOURCE: a producer, new (latest) or old (none), writes an event with that source.
writes() {
  printf '{"payload":{"text":"a note with a source"},"namespace":"drill","source":%s}\n' "$3" >"$scratch/line"
  SOMA_REGISTRY__VALIDATE=$2 SOMA_REGISTRY__REFRESH_S=0.001 exits "$1" soma produce "$scratch/line"
}

step "Version 1 is what ships with soma, in both registries"
exits 0 soma init
exits 0 staging register
exits 0 production register
exits 0 production mode
exits 0 soma store --text "before the change" --namespace drill --wait all -q

step "A field with a type is no addition: old producers may have written anything there"
edit 'schema["properties"]["source"] = {"type": "string"}'
exits 7 production check --against registry
exits 7 staging register

step "But nobody has: the log is asked, and new events can be read by those who know version 1 only"
exits 0 soma schema check --against log --schemas "$schemas"
exits 0 staging mode memory.event FORWARD
exits 0 production mode memory.event FORWARD
exits 0 staging register

step "Promoted: a plan first; a second run finds nothing to do"
exits 0 promote
exits 0 promote --execute --yes
exits 0 promote --execute --yes
exits 0 soma schema check --against registry --schemas "$schemas"

step "Old and new producers side by side, and the workers read both"
old=$(SOMA_REGISTRY__VALIDATE=none exits 0 soma store --text "by an old producer" --namespace drill --wait all -q)
writes 0 latest '"import"'
writes 5 latest 5
eventually caught_up
exits 0 soma get "$old" -q
new=$(soma list --namespace drill --limit 1 -q)
exits 0 soma history "$new" -o jsonl | grep -q '"source":"import"' || fail "the new field is not in the event"

step "The registry goes away: producers go by their copy, and nobody else needs it"
hook "$STOP_REGISTRY"
writes 0 latest '"while the registry was away"'
writes 5 latest 5
exits 4 production mode
hook "$START_REGISTRY"
eventually production mode

step "An old producer writes what version 2 refuses: the log says so, and where"
writes 0 none 5
exits 7 soma schema check --against log --schemas "$schemas"

step "Taken back: version 3 asks for no more than version 1 did"
edit 'del schema["properties"]["source"]; schema["$comment"] = "as version 1; source may be anything"'
exits 0 staging mode memory.event BACKWARD
exits 0 production mode memory.event BACKWARD
exits 0 staging register
exits 0 promote --execute --yes
exits 0 soma schema check --against log --schemas "$schemas"
writes 0 latest 5

step "It is over"
eventually caught_up
exits 0 soma lag --threshold 0
exits 0 soma doctor
