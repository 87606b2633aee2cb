-- Where Kafka Connect lands the records of the events' topic, each as its producer wrote it, until they are applied.
-- Bytes, because not everything in the topic is JSON, and jsonb would forget the order of keys and the form of numbers.
-- The sink gives the columns of the source position their names.
CREATE TABLE memory_landing (
    __connect_topic text NOT NULL,
    __connect_partition integer NOT NULL,
    __connect_offset bigint NOT NULL,
    -- the topic's incarnation: the offsets of a topic that was made anew begin again
    topic_id text,
    appended_at timestamptz NOT NULL,
    key bytea,
    value bytea,
    landed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (__connect_topic, __connect_partition, __connect_offset)
);

-- Every row comes and goes: the dead ones are cleared away by their number, however many are alive
ALTER TABLE memory_landing SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0
);

-- For people who look: the event as jsonb, null where the record is none. To keep it beside each row takes longer than
-- to write the row.
CREATE FUNCTION soma_landed_json(value bytea) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(value, 'UTF8')::jsonb;
EXCEPTION WHEN others THEN
    RETURN NULL;
END
$$;

CREATE VIEW memory_landing_events AS
SELECT __connect_topic, __connect_partition, __connect_offset, appended_at, landed_at,
       soma_landed_json(value) AS event
FROM memory_landing;
