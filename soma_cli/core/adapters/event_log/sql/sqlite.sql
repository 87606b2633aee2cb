-- name: topics
SELECT name FROM topics ORDER BY name;

-- name: topic
SELECT number, topic_id FROM topics WHERE name = ?;

-- name: create_topic
INSERT INTO topics (name, topic_id, created_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING;

-- name: newest
SELECT seq, appended_at FROM records WHERE seq >= ? AND seq < ? ORDER BY seq DESC LIMIT 1;

-- name: append
INSERT INTO records (seq, appended_at, key, value, headers) VALUES (?, ?, ?, ?, ?);

-- name: read
SELECT seq, appended_at, key, value, headers FROM records WHERE seq >= ? AND seq < ? ORDER BY seq LIMIT ?;

-- name: read_key
SELECT seq, appended_at, key, value, headers FROM records
WHERE seq >= ? AND seq < ? AND key = ? ORDER BY seq LIMIT ?;

-- name: appended_at
SELECT appended_at FROM records WHERE seq = ?;

-- name: committed
SELECT partition, next_offset, committed_at, rate_per_s FROM group_offsets WHERE group_name = ? AND topic = ?;

-- name: commit
INSERT INTO group_offsets (group_name, topic, partition, next_offset, committed_at, rate_per_s)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (group_name, topic, partition) DO UPDATE
SET next_offset = excluded.next_offset, committed_at = excluded.committed_at, rate_per_s = excluded.rate_per_s;
