CREATE TABLE group_offsets (
    group_name TEXT NOT NULL,
    topic TEXT NOT NULL,
    partition INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    committed_at INTEGER NOT NULL,
    rate_per_s REAL,
    PRIMARY KEY (group_name, topic, partition)
) WITHOUT ROWID;
