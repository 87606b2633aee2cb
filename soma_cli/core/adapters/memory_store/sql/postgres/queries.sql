-- Table names carry the placeholder {p}: empty for the live tables, a prefix of its own for a shadow.

-- name: existing
SELECT name FROM unnest(%b) AS asked (name)
WHERE to_regclass(quote_ident(current_schema()) || '.' || quote_ident(name)) IS NOT NULL;

-- name: epochs
SELECT topic_id, epoch FROM epochs WHERE topic = %s ORDER BY epoch;

-- name: epoch
SELECT epoch FROM epochs WHERE topic_id = %s;

-- name: register_topic
INSERT INTO epochs (topic_id, topic, epoch) VALUES (%s, %s, %s);

-- name: lock_epochs
LOCK TABLE epochs IN SHARE ROW EXCLUSIVE MODE;

-- name: positions
SELECT partition, next_offset FROM {p}positions WHERE topic_id = %s ORDER BY partition;

-- name: begin_positions
INSERT INTO {p}positions (topic_id, partition, next_offset)
SELECT %s, partition, 0 FROM unnest(%b) AS asked (partition)
ORDER BY partition
ON CONFLICT DO NOTHING;

-- name: hold_positions
SELECT partition, next_offset FROM {p}positions
WHERE topic_id = %s AND partition = ANY(%b) ORDER BY partition FOR UPDATE;

-- name: store_positions
UPDATE {p}positions AS stored SET next_offset = moved.next_offset
FROM unnest(%b, %b, %b) AS moved (partition, held, next_offset)
WHERE stored.topic_id = %s AND stored.partition = moved.partition AND stored.next_offset = moved.held
RETURNING stored.partition;

-- name: states
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM {p}memories WHERE id = ANY(%b);

-- name: seen
SELECT id, event_id FROM {p}memory_events
JOIN unnest(%b, %b) AS asked (id, event_id) USING (id, event_id)
WHERE outcome IN ('applied', 'ignored');

-- name: upsert_memories
INSERT INTO {p}memories AS held
    (id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted)
SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
ON CONFLICT (id) DO UPDATE SET
    namespace = excluded.namespace, payload_json = excluded.payload_json, importance = excluded.importance,
    created_at = excluded.created_at, updated_at = excluded.updated_at, version = excluded.version,
    last_event_id = excluded.last_event_id, model_revision = excluded.model_revision, deleted = excluded.deleted
WHERE excluded.version > held.version;

-- name: write_journal
INSERT INTO {p}memory_events
    (version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event)
SELECT version, partition, id, event_id, type, appended_at, %b, outcome, note, event
FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b)
    AS made (version, partition, id, event_id, type, appended_at, outcome, note, event);

-- name: list_all
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE NOT deleted AND updated_at >= %b ORDER BY version DESC LIMIT %s;

-- name: list_namespace
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories
WHERE NOT deleted AND updated_at >= %(since)b AND namespace = %(namespace)s
AND left(namespace, 200) = left(%(namespace)s, 200)
ORDER BY version DESC LIMIT %(limit)s;

-- name: scan
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories
WHERE id > %(after)s::uuid AND (%(deleted)s OR NOT deleted)
AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
ORDER BY id LIMIT %(limit)s;

-- name: history
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM memory_events WHERE id = ANY(%b) ORDER BY version, partition;

-- name: journal_at
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM memory_events JOIN unnest(%b, %b) AS asked (partition, version) USING (partition, version);

-- name: first_positions
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM memory_events JOIN unnest(%b, %b) AS asked (id, event_id) USING (id, event_id)
WHERE outcome IN ('applied', 'ignored');

-- name: find_event
WITH found AS (
    SELECT DISTINCT id FROM memory_events WHERE event_id = ANY(%(event_id)b) AND outcome IN ('applied', 'ignored')
)
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM memory_events JOIN found USING (id) WHERE event_id = ANY(%(event_id)b) ORDER BY partition, version;

-- name: newest_outcomes
SELECT outcome FROM memory_events
WHERE partition = %s AND version >= %s AND version < %s ORDER BY version DESC LIMIT %s;

-- name: count_namespaces
SELECT namespace, count(*), sum(octet_length(payload_json))::bigint
FROM memories WHERE NOT deleted GROUP BY namespace ORDER BY namespace COLLATE "C";

-- name: count_tombstones
SELECT count(*) FROM memories WHERE deleted;

-- name: count_outcomes
SELECT outcome, count(*) FROM memory_events GROUP BY outcome ORDER BY outcome;

-- name: sizes
SELECT name, coalesce(pg_total_relation_size(to_regclass(name)), 0)
FROM unnest(ARRAY['memories', 'memory_events', 'access']) AS tables (name);

-- name: record_access
INSERT INTO access AS held (id, last_access, access_count)
SELECT id, %b, times FROM unnest(%b, %b) AS read (id, times)
ON CONFLICT (id) DO UPDATE SET
    last_access = greatest(held.last_access, excluded.last_access),
    access_count = held.access_count + excluded.access_count;

-- name: access
SELECT id, last_access, access_count FROM access WHERE id = ANY(%b);
