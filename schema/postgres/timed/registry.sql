-- What is stored only once, in the layouts whose tables of events and model calls cannot have a unique
-- index without the time. Triggers keep it in step with them.

-- The events that have such a value: a name, or a position in a chain or a run log.
CREATE TABLE {schema}.agent_run_event_ids (
    id             BIGINT PRIMARY KEY,
    timestamp      TIMESTAMPTZ NOT NULL,
    event_id       TEXT UNIQUE,
    run_id         TEXT,
    chain_position BIGINT,
    session_id     TEXT,
    seq            BIGINT
);

CREATE UNIQUE INDEX agent_run_event_ids_chain
    ON {schema}.agent_run_event_ids (run_id, chain_position)
    WHERE chain_position IS NOT NULL;
CREATE UNIQUE INDEX agent_run_event_ids_log ON {schema}.agent_run_event_ids (session_id, seq)
    WHERE seq IS NOT NULL;
-- The entries of a month, which go when its partition is dropped.
CREATE INDEX agent_run_event_ids_by_time ON {schema}.agent_run_event_ids USING brin (timestamp);

-- In one order for all, so that two batches with the same names do not deadlock. The registry is
-- that of the schema of the events, also after that was renamed; so it is in all that follow.
CREATE FUNCTION {schema}.curio_register_events() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    INSERT INTO agent_run_event_ids
        SELECT id, timestamp, event_id, run_id, chain_position, session_id, seq FROM arrived
        WHERE event_id IS NOT NULL OR chain_position IS NOT NULL OR seq IS NOT NULL
        ORDER BY event_id, run_id, chain_position, session_id, seq;
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_run_events_inserted AFTER INSERT ON {schema}.agent_run_events
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_register_events();

CREATE FUNCTION {schema}.curio_register_event_again() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    -- A trigger for each row fires on the partition, which may be in a schema of an extension.
    PERFORM set_config('search_path', quote_ident(nspname), true)
        FROM pg_inherits
        JOIN pg_class ON pg_class.oid = inhparent
        JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE inhrelid = TG_RELID;
    DELETE FROM agent_run_event_ids WHERE id = NEW.id;
    INSERT INTO agent_run_event_ids
        SELECT NEW.id, NEW.timestamp, NEW.event_id, NEW.run_id, NEW.chain_position,
            NEW.session_id, NEW.seq
        WHERE NEW.event_id IS NOT NULL OR NEW.chain_position IS NOT NULL OR NEW.seq IS NOT NULL;
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_run_events_moved
    AFTER UPDATE OF event_id, run_id, chain_position, session_id, seq
    ON {schema}.agent_run_events
    FOR EACH ROW WHEN (
        (NEW.event_id, NEW.run_id, NEW.chain_position, NEW.session_id, NEW.seq) IS DISTINCT FROM
        (OLD.event_id, OLD.run_id, OLD.chain_position, OLD.session_id, OLD.seq)
    )
    EXECUTE FUNCTION {schema}.curio_register_event_again();

CREATE FUNCTION {schema}.curio_forget_events() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    DELETE FROM agent_run_event_ids AS ids USING gone WHERE ids.id = gone.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_run_events_deleted AFTER DELETE ON {schema}.agent_run_events
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_forget_events();

-- The model calls that have a name.
CREATE TABLE {schema}.agent_llm_usage_ids (
    id         BIGINT PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL,
    event_id   TEXT NOT NULL UNIQUE
);

-- The entries of a month, which go when its partition is dropped.
CREATE INDEX agent_llm_usage_ids_by_time ON {schema}.agent_llm_usage_ids USING brin (created_at);

CREATE FUNCTION {schema}.curio_register_usage() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    INSERT INTO agent_llm_usage_ids
        SELECT id, created_at, event_id FROM arrived WHERE event_id IS NOT NULL ORDER BY event_id;
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_llm_usage_inserted AFTER INSERT ON {schema}.agent_llm_usage
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_register_usage();

CREATE FUNCTION {schema}.curio_forget_usage() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    DELETE FROM agent_llm_usage_ids AS ids USING gone WHERE ids.id = gone.id;
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_llm_usage_deleted AFTER DELETE ON {schema}.agent_llm_usage
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_forget_usage();
