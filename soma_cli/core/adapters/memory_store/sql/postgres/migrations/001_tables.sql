-- Instants are timestamptz: to the microsecond, and readable by people. Versions are epoch * 2^40 + offset.

CREATE TABLE epochs (
    topic_id text PRIMARY KEY,
    topic text NOT NULL,
    epoch bigint NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (topic, epoch)
);

CREATE TABLE positions (
    topic_id text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic_id, partition)
);

-- payload_json is the payload as its event had it; jsonb would forget the order of keys and the form of numbers
CREATE TABLE memories (
    id uuid PRIMARY KEY,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    importance double precision NOT NULL,
    last_event_id uuid NOT NULL,
    deleted boolean NOT NULL,
    namespace text NOT NULL,
    model_revision text,
    payload_json text NOT NULL,
    payload jsonb NOT NULL GENERATED ALWAYS AS (payload_json::jsonb) STORED
);

CREATE INDEX memories_by_time ON memories (updated_at, version) WHERE NOT deleted;
-- of a namespace only the beginning: an index row has a limit of its own
CREATE INDEX memories_by_namespace ON memories (left(namespace, 200), updated_at, version) WHERE NOT deleted;

-- The journal: one row a position; the bytes of an event as its log has them, also where they are no event of ours
CREATE TABLE memory_events (
    version bigint NOT NULL,
    partition integer NOT NULL,
    id uuid,
    event_id uuid,
    appended_at timestamptz NOT NULL,
    applied_at timestamptz NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('applied', 'duplicate', 'ignored', 'rejected')),
    type text,
    note text NOT NULL,
    event text,
    PRIMARY KEY (partition, version)
);

CREATE UNIQUE INDEX memory_events_first ON memory_events (event_id, id) WHERE outcome IN ('applied', 'ignored');
CREATE INDEX memory_events_by_id ON memory_events (id);

-- How often and when a memory was read: of no log's making, so no rebuild touches it
CREATE TABLE access (
    id uuid PRIMARY KEY,
    last_access timestamptz NOT NULL,
    access_count bigint NOT NULL
);

-- Events of some kilobytes are compressed: by lz4 where the server has it, which takes a fraction of the time
DO $$
BEGIN
    ALTER TABLE memories ALTER payload_json SET COMPRESSION lz4, ALTER payload SET COMPRESSION lz4;
    ALTER TABLE memory_events ALTER event SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END
$$;
