-- name: schema
SELECT current_schema();

-- name: hold
SELECT pg_try_advisory_lock(hashtextextended('soma landing ' || current_schema(), 0));

-- A client that is gone, or that hangs, is not waited for as long as the system waits: others stand by for its hold.
-- name: missed
SELECT set_config(name, value, false)
FROM unnest(ARRAY['tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout',
                  'idle_session_timeout'], %s::text[]) AS limits (name, value);

-- Of each partition no more than so many bytes and one record, however many records there are.
-- name: landed
SELECT asked.partition, __connect_offset, appended_at, key, value
FROM unnest(%b, %b) AS asked (partition, start)
CROSS JOIN LATERAL (
    SELECT *, sum(coalesce(octet_length(value), 0)) OVER (ORDER BY __connect_offset) AS bytes FROM (
        SELECT __connect_offset, appended_at, key, value FROM memory_landing
        WHERE __connect_topic = %s AND topic_id = %s
        AND __connect_partition = asked.partition AND __connect_offset >= asked.start
        ORDER BY __connect_offset LIMIT %s
    ) AS next
) AS rows
WHERE bytes - coalesce(octet_length(value), 0) < %s
LIMIT %s;

-- What Connect writes again at this moment is left for the next time: neither waits for the other.
-- So many rows at a time: what landed for nothing takes more than one call, and no call takes long.
-- name: clear
DELETE FROM memory_landing WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM memory_landing
    WHERE __connect_topic = %s AND __connect_partition = %s AND __connect_offset < %s
    ORDER BY __connect_offset LIMIT %s FOR UPDATE SKIP LOCKED
));

-- name: waiting
SELECT count(*), min(landed_at)
FROM unnest(%b, %b) AS passed (partition, position)
JOIN memory_landing ON __connect_partition = passed.partition AND __connect_offset >= passed.position
WHERE __connect_topic = %s AND topic_id = %s;
