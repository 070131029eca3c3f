-- What the foreign key of the events does in other layouts, with the same lock and the same error. A
-- foreign key of a hypertable locks the table of runs whenever a chunk is made, into which others have
-- just inserted: they deadlock.

CREATE FUNCTION {schema}.curio_check_runs() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    named BIGINT;
    found BIGINT;
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    SELECT count(DISTINCT run_id) INTO named FROM arrived;
    SELECT count(*) INTO found FROM (
        SELECT FROM agent_runs WHERE run_id IN (SELECT DISTINCT run_id FROM arrived)
        ORDER BY run_id FOR KEY SHARE
    ) AS locked;
    IF found < named THEN
        RAISE 'an event names a run that does not exist' USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN NULL;
END
$$;

-- Triggers fire by their names: before the one of the registry.
CREATE TRIGGER agent_run_events_checked AFTER INSERT ON {schema}.agent_run_events
    REFERENCING NEW TABLE AS arrived
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_check_runs();

CREATE FUNCTION {schema}.curio_delete_events_of_runs() RETURNS TRIGGER
    LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM set_config('search_path', quote_ident(TG_TABLE_SCHEMA), true);
    DELETE FROM agent_run_event_ids WHERE id IN (
        SELECT id FROM agent_run_events WHERE run_id IN (SELECT run_id FROM gone)
    );
    DELETE FROM agent_run_events WHERE run_id IN (SELECT run_id FROM gone);
    RETURN NULL;
END
$$;

CREATE TRIGGER agent_runs_deleted AFTER DELETE ON {schema}.agent_runs
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.curio_delete_events_of_runs();

-- Transition tables of deletions forbid the columnstore: the library cleans the registry instead.
DROP TRIGGER agent_run_events_deleted ON {schema}.agent_run_events;
DROP TRIGGER agent_llm_usage_deleted ON {schema}.agent_llm_usage;
DROP FUNCTION {schema}.curio_forget_events();
DROP FUNCTION {schema}.curio_forget_usage();
