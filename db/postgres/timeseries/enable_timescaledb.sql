-- TimescaleDB, when this server has it and preloads it; nothing needs it.
-- Per database; run by `bootstrap` as superuser, as often as wanted.

DO $$
DECLARE
    v_schema name;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb')
        OR 'timescaledb' <> ALL (
            regexp_split_to_array(current_setting('shared_preload_libraries'), '\s*,\s*')
        )
    THEN
        RETURN;
    END IF;
    CREATE SCHEMA IF NOT EXISTS timescale;
    CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA timescale;
    SELECT e.extnamespace::regnamespace::name INTO v_schema
    FROM pg_catalog.pg_extension AS e
    WHERE e.extname = 'timescaledb';
    -- Images of TimescaleDB put it there into the databases which they make themselves.
    IF v_schema <> 'timescale' THEN
        RAISE EXCEPTION
            'timescaledb is in schema % of this database: let bootstrap make the database', v_schema;
    END IF;
    -- As it comes, its tables and functions are everyone's. Every session looks up names in its
    -- schemas, so those stay open; what lies in them is for the owner of the series alone. Chunks
    -- know no policies: no reader has a right on a chunk, as rights on columns are not handed down.
    FOR v_schema IN
        SELECT n.nspname
        FROM pg_catalog.pg_namespace AS n
        WHERE n.nspname ~ '^(_timescaledb_|timescaledb_|timescale$)'
    LOOP
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM PUBLIC', v_schema);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM PUBLIC', v_schema);
        EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA %I FROM PUBLIC', v_schema);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO app_owner', v_schema);
        EXECUTE format('GRANT EXECUTE ON ALL ROUTINES IN SCHEMA %I TO app_owner', v_schema);
    END LOOP;
END
$$;
