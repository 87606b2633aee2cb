CREATE INDEX memories_by_namespace ON memories (namespace, version);
