-- Table names carry the placeholder {p}: empty for the live tables, a prefix of its own for a shadow.

-- name: epochs
SELECT topic_id, epoch FROM epochs WHERE topic = ? ORDER BY epoch;

-- name: epoch
SELECT epoch, topic FROM epochs WHERE topic_id = ?;

-- name: register_topic
INSERT INTO epochs (topic_id, topic, epoch, registered_at) VALUES (?, ?, ?, ?);

-- name: positions
SELECT partition, next_offset FROM {p}positions WHERE topic_id = ? ORDER BY partition;

-- name: store_position
INSERT INTO {p}positions (topic_id, partition, next_offset) VALUES (?, ?, ?)
ON CONFLICT (topic_id, partition) DO UPDATE SET next_offset = excluded.next_offset
WHERE next_offset = ?;

-- name: states
SELECT id, namespace, payload, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM {p}memories WHERE id IN (SELECT value FROM json_each(?));

-- name: seen
SELECT id, event_id FROM {p}memory_events
WHERE outcome IN ('applied', 'ignored')
AND (id, event_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?));

-- name: upsert_memory
INSERT INTO {p}memories
    (id, namespace, payload, importance, created_at, updated_at, version, last_event_id, model_revision, deleted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    namespace = excluded.namespace, payload = excluded.payload, importance = excluded.importance,
    created_at = excluded.created_at, updated_at = excluded.updated_at, version = excluded.version,
    last_event_id = excluded.last_event_id, model_revision = excluded.model_revision, deleted = excluded.deleted
WHERE excluded.version > {p}memories.version;

-- name: journal
INSERT INTO {p}memory_events (seq, id, event_id, type, appended_at, applied_at, outcome, note, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: list_all
SELECT id, namespace, payload, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE NOT deleted AND updated_at >= ?
ORDER BY updated_at DESC, version DESC LIMIT ?;

-- name: list_namespace
SELECT id, namespace, payload, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE NOT deleted AND updated_at >= ? AND namespace = ?
ORDER BY updated_at DESC, version DESC LIMIT ?;

-- name: scan
SELECT id, namespace, payload, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE id > ? AND (? OR NOT deleted) AND (? IS NULL OR namespace = ?) ORDER BY id LIMIT ?;

-- name: history
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM memory_events
WHERE id = ? AND outcome IN ('applied', 'ignored')
UNION ALL
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM memory_events
WHERE id = ? AND outcome IN ('duplicate', 'rejected')
ORDER BY seq;

-- name: journal_at
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM memory_events
WHERE seq IN (SELECT value FROM json_each(?));

-- name: first_positions
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM memory_events
WHERE outcome IN ('applied', 'ignored')
AND (id, event_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?));

-- name: find_event
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM memory_events
WHERE event_id = ? ORDER BY seq;

-- name: newest_outcomes
SELECT outcome FROM memory_events WHERE seq >= ? AND seq < ? ORDER BY seq DESC LIMIT ?;

-- name: count_namespaces
SELECT namespace, count(*), sum(length(payload)) FROM memories WHERE NOT deleted GROUP BY namespace ORDER BY namespace;

-- name: count_tombstones
SELECT count(*) FROM memories WHERE deleted;

-- name: count_outcomes
SELECT outcome, count(*) FROM memory_events GROUP BY outcome ORDER BY outcome;

-- name: tables
SELECT name FROM sqlite_schema WHERE type = 'table' AND (name LIKE 'shadow\_%' ESCAPE '\' OR name LIKE 'old\_%' ESCAPE '\');

-- name: definitions
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE tbl_name IN ('positions', 'memories', 'memory_events') AND sql IS NOT NULL ORDER BY type DESC, name;

-- name: missing
SELECT id FROM {p}memories WHERE id NOT IN (SELECT id FROM memories) ORDER BY id;

-- name: extra
SELECT id FROM memories WHERE id NOT IN (SELECT id FROM {p}memories) ORDER BY id;

-- name: different
SELECT live.id FROM memories AS live JOIN {p}memories AS made ON made.id = live.id
WHERE (live.namespace, live.payload, live.importance, live.created_at, live.updated_at, live.version,
       live.last_event_id, live.deleted)
   != (made.namespace, made.payload, made.importance, made.created_at, made.updated_at, made.version,
       made.last_event_id, made.deleted)
   OR live.model_revision IS NOT made.model_revision
ORDER BY live.id;

-- name: compared
SELECT count(*) FROM {p}memories;

-- name: journal_different
SELECT count(*) FROM (
    SELECT made.seq FROM {p}memory_events AS made LEFT JOIN memory_events AS live ON live.seq = made.seq
    WHERE (live.outcome, live.id, live.event_id, live.type, live.appended_at, live.event)
       IS NOT (made.outcome, made.id, made.event_id, made.type, made.appended_at, made.event)
    UNION ALL
    SELECT live.seq FROM memory_events AS live LEFT JOIN {p}memory_events AS made ON made.seq = live.seq
    WHERE made.seq IS NULL AND live.seq & ((1 << 53) - 1) >= (SELECT epoch << 40 FROM epochs WHERE topic_id = ?)
);

-- name: keep_journal
INSERT INTO {p}memory_events SELECT * FROM memory_events WHERE seq & ((1 << 53) - 1) < ?;

-- name: keep_positions
INSERT INTO {p}positions SELECT * FROM positions WHERE topic_id != ?;

-- name: applied
SELECT seq, id, event_id, type, appended_at, applied_at, outcome, note, event FROM {p}memory_events
WHERE outcome = 'applied' ORDER BY id, seq & ((1 << 53) - 1);
