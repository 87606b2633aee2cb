CREATE TABLE epochs (
    topic_id TEXT PRIMARY KEY,
    topic TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    registered_at INTEGER NOT NULL,
    UNIQUE (topic, epoch)
);

CREATE TABLE positions (
    topic_id TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic_id, partition)
) WITHOUT ROWID;

CREATE TABLE memories (
    id TEXT NOT NULL PRIMARY KEY,
    namespace TEXT NOT NULL,
    payload TEXT NOT NULL,
    importance REAL NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    last_event_id TEXT NOT NULL,
    model_revision TEXT,
    deleted INTEGER NOT NULL
);

CREATE INDEX memories_by_version ON memories (version);

-- seq = partition * 2^53 + version: one row a position, in log order within its partition
CREATE TABLE memory_events (
    seq INTEGER PRIMARY KEY,
    id TEXT,
    event_id TEXT,
    type TEXT,
    appended_at INTEGER NOT NULL,
    applied_at INTEGER NOT NULL,
    outcome TEXT NOT NULL CHECK (outcome IN ('applied', 'duplicate', 'ignored', 'rejected')),
    note TEXT NOT NULL,
    event TEXT
);

CREATE UNIQUE INDEX memory_events_first ON memory_events (id, event_id) WHERE outcome IN ('applied', 'ignored');
CREATE INDEX memory_events_later ON memory_events (id) WHERE outcome IN ('duplicate', 'rejected');
