-- TimescaleDB, when this server has it and preloads it; nothing needs it.
-- Per database; run by `bootstrap` as superuser, as often as wanted.

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'timescaledb')
        AND 'timescaledb' = ANY (
            regexp_split_to_array(current_setting('shared_preload_libraries'), '\s*,\s*')
        )
    THEN
        CREATE SCHEMA IF NOT EXISTS timescale;
        CREATE EXTENSION IF NOT EXISTS timescaledb SCHEMA timescale;
        GRANT USAGE ON SCHEMA timescale TO app_owner;
    END IF;
END
$$;
