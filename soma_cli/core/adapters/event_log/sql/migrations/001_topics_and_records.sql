CREATE TABLE topics (
    number INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    topic_id TEXT NOT NULL,
    created_at INTEGER NOT NULL
);

-- seq = topic number * 2^40 + offset: one B-tree that only ever grows at each topic's end
CREATE TABLE records (
    seq INTEGER PRIMARY KEY,
    appended_at INTEGER NOT NULL,
    key BLOB,
    value BLOB,
    headers BLOB
);
