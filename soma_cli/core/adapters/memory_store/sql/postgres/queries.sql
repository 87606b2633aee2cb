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

-- name: register_turn
SELECT pg_advisory_xact_lock(hashtextextended('soma epochs ' || current_schema(), 0));

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

-- Looked up one by one. As a plain join, the server reads the whole journal for each of them as long as it has not
-- counted its rows, so in the first minutes of a deployment or of a rebuild.
-- name: seen
SELECT asked.id, asked.event_id FROM unnest(%b, %b) AS asked (id, event_id), LATERAL (
    SELECT FROM {p}memory_events AS held
    WHERE held.event_id = asked.event_id AND held.id = asked.id AND outcome IN ('applied', 'ignored') LIMIT 1
) AS held;

-- For the same reason: what a batch looks up is a small part of a table, whatever the server takes its size for.
-- name: by_index
SET LOCAL enable_seqscan = off;

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
    (applied_at, id, event_id, partition, appended_at, type, event, version, outcome, note)
SELECT %b, * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b);

-- name: list_all
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories WHERE NOT deleted AND updated_at >= %b ORDER BY updated_at DESC, version DESC LIMIT %s;

-- name: list_namespace
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories
WHERE NOT deleted AND updated_at >= %(since)b AND namespace = %(namespace)s
AND left(namespace, 200) = left(%(namespace)s, 200)
ORDER BY updated_at DESC, version DESC LIMIT %(limit)s;

-- name: scan
SELECT id, namespace, payload_json, importance, created_at, updated_at, version, last_event_id, model_revision, deleted
FROM memories
WHERE id >= %(from)s::uuid AND (%(deleted)s OR NOT deleted)
AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
ORDER BY id LIMIT %(limit)s;

-- name: history
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM memory_events WHERE id = ANY(%b) ORDER BY version, partition;

-- name: journal_at
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM unnest(%b, %b) AS asked (asked_partition, asked_version), LATERAL (
    SELECT * FROM memory_events WHERE partition = asked_partition AND version = asked_version LIMIT 1
) AS held;

-- name: first_positions
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event
FROM unnest(%b, %b) AS asked (asked_id, asked_event_id), LATERAL (
    SELECT * FROM memory_events
    WHERE event_id = asked_event_id AND id = asked_id AND outcome IN ('applied', 'ignored') LIMIT 1
) AS held;

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

-- name: rebuild_turn
SELECT pg_try_advisory_lock(hashtextextended('soma rebuild kv ' || current_schema(), 0));

-- Whether some session has the turn of this name: of a rebuild ('soma rebuild kv '), or of landing ('soma landing ').
-- name: turn_is_taken
SELECT EXISTS (
    SELECT FROM pg_locks, hashtextextended(%s || current_schema(), 0) AS turn
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32) | objid::bigint = turn
);

-- name: leftovers
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
AND relname ~ '^shadow_[0-9a-f]{8}_(positions|memories|memory_events)$';

-- name: constraints
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = ANY(ARRAY['positions', 'memories', 'memory_events']::regclass[]) AND contype IN ('p', 'u');

-- name: indexes
SELECT relation.relname, index.relname, indisunique, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class AS relation ON relation.oid = indrelid JOIN pg_class AS index ON index.oid = indexrelid
WHERE indrelid = ANY(ARRAY['positions', 'memories', 'memory_events']::regclass[])
AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'));

-- name: grants
SELECT relname, format(
    'GRANT %s ON {p}%s TO %s%s', privilege_type, relname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
) FROM pg_class, aclexplode(relacl)
WHERE pg_class.oid = ANY(ARRAY['positions', 'memories', 'memory_events']::regclass[]) AND grantee != relowner
UNION ALL
SELECT relname, format(
    'GRANT %s (%I) ON {p}%s TO %s%s', privilege_type, attname, relname,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid, aclexplode(attacl)
WHERE pg_class.oid = ANY(ARRAY['positions', 'memories', 'memory_events']::regclass[]) AND grantee != relowner;

-- name: owners
SELECT relname, format('ALTER TABLE {p}%s OWNER TO %I', relname, pg_get_userbyid(relowner)) FROM pg_class
WHERE oid = ANY(ARRAY['positions', 'memories', 'memory_events']::regclass[])
AND pg_get_userbyid(relowner) != current_user;

-- name: hold_writers
LOCK TABLE positions IN EXCLUSIVE MODE;

-- name: keep_journal
INSERT INTO {p}memory_events SELECT * FROM memory_events WHERE version < %s;

-- name: keep_positions
INSERT INTO {p}positions SELECT * FROM positions WHERE topic_id != %s;

-- name: applied
SELECT version, partition, id, event_id, type, appended_at, applied_at, outcome, note, event FROM {p}memory_events
WHERE outcome = 'applied' ORDER BY id, version;

-- name: compared
SELECT count(*) FROM {p}memories;

-- name: missing
SELECT id, count(*) OVER () FROM {p}memories AS made
WHERE NOT EXISTS (SELECT FROM memories AS live WHERE live.id = made.id) ORDER BY id LIMIT %s;

-- name: extra
SELECT id, count(*) OVER () FROM memories AS live
WHERE NOT EXISTS (SELECT FROM {p}memories AS made WHERE made.id = live.id) ORDER BY id LIMIT %s;

-- name: different
SELECT id, count(*) OVER () FROM memories AS live JOIN {p}memories AS made USING (id)
WHERE (live.namespace, live.payload_json, live.importance, live.created_at, live.updated_at, live.version,
       live.last_event_id, live.deleted, live.model_revision)
   IS DISTINCT FROM
      (made.namespace, made.payload_json, made.importance, made.created_at, made.updated_at, made.version,
       made.last_event_id, made.deleted, made.model_revision)
ORDER BY id LIMIT %s;

-- name: journal_different
SELECT count(*)
FROM memory_events AS live FULL JOIN {p}memory_events AS made USING (partition, version)
WHERE (live.outcome, live.id, live.event_id, live.type, live.appended_at, live.event)
   IS DISTINCT FROM (made.outcome, made.id, made.event_id, made.type, made.appended_at, made.event)
AND (made.outcome IS NOT NULL OR version >= %s);

-- name: server
SELECT current_setting('server_version'), pg_is_in_recovery(), current_setting('transaction_read_only')::boolean,
       current_setting('server_encoding');

-- name: clock
SELECT extract(epoch FROM clock_timestamp());

-- name: missing_rights
SELECT name, wanted
FROM unnest(ARRAY['epochs', 'positions', 'memories', 'memory_events', 'access']) AS tables (name),
     unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) AS rights (wanted)
WHERE NOT has_table_privilege(name, wanted) AND (name, wanted) NOT IN (('memory_events', 'UPDATE'), ('epochs', 'UPDATE'))
ORDER BY name, wanted;

-- name: invalid_indexes
SELECT indexrelid::regclass::text FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace = current_schema()::regnamespace AND NOT indisvalid
AND relname IN ('epochs', 'positions', 'memories', 'memory_events', 'access');
