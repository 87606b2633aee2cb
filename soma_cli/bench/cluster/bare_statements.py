"""The statements of the baseline: one transaction writes row, journal and position, as soma's own does."""

_GUARD = """
ON CONFLICT (id) DO UPDATE SET
    namespace = excluded.namespace, payload_json = excluded.payload_json, importance = excluded.importance,
    updated_at = excluded.updated_at, version = excluded.version, last_event_id = excluded.last_event_id,
    model_revision = excluded.model_revision, deleted = excluded.deleted
WHERE excluded.version > held.version
"""
MANY_MEMORIES = (
    """
INSERT INTO memories AS held
    (id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted)
SELECT id::uuid, namespace, payload, 1.0, at, at, version, event_id::uuid, NULL, false
FROM unnest(%b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::bigint[], %b::text[])
    AS made (id, namespace, payload, at, version, event_id)
"""
    + _GUARD
)
MANY_EVENTS = """
INSERT INTO memory_events
    (version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event)
SELECT version, partition, id::uuid, event_id::uuid, type, at, now(), 'applied', '', event
FROM unnest(%b::bigint[], %b::integer[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[])
    AS made (version, partition, id, event_id, type, at, event)
"""
MANY_POSITIONS = """
INSERT INTO positions SELECT 'bare', partition, at FROM unnest(%b::integer[], %b::bigint[]) AS moved (partition, at)
ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
ONE_MEMORY = (
    """
INSERT INTO memories AS held
    (id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted)
VALUES (%s, %s, %s, 1.0, %s, %s, %s, %s, NULL, false)
"""
    + _GUARD
)
ONE_EVENT = """
INSERT INTO memory_events
    (version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event)
VALUES (%s, %s, %s, %s, %s, %s, now(), 'applied', '', %s)
"""
ONE_POSITION = """
INSERT INTO positions VALUES ('bare', %s, %s)
ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset
"""
COPY_MEMORIES = """
COPY memories
    (id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted)
FROM STDIN
"""
COPY_EVENTS = """
COPY memory_events
    (version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event)
FROM STDIN
"""
TABLES = ("memories", "memory_events")
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = current_schema() AND tablename = ANY(%s) AND indexname NOT LIKE %s
"""
