-- Versions of two partitions say nothing of which is newer; times do.
DROP INDEX IF EXISTS memories_by_version;
DROP INDEX IF EXISTS memories_by_namespace;
CREATE INDEX memories_by_time ON memories (updated_at, version);
CREATE INDEX memories_by_namespace_and_time ON memories (namespace, updated_at, version);
