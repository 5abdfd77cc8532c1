-- What a database of the platform takes away from PUBLIC, and the schemas it starts with.
-- Per database; run by `bootstrap` as superuser, as often as wanted.

DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format(
        'GRANT CONNECT ON DATABASE %I TO app_migrate, app_write, app_worker, app_read, core',
        current_database()
    );
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS security AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS market AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS reporting AUTHORIZATION app_owner;
CREATE SCHEMA IF NOT EXISTS audit AUTHORIZATION audit_owner;
CREATE SCHEMA IF NOT EXISTS auth_dev AUTHORIZATION core;
-- That of the real identity core, which runs in containers.
CREATE SCHEMA IF NOT EXISTS supertokens AUTHORIZATION core;

GRANT USAGE ON SCHEMA audit TO app_owner;

-- A procedure is callable by those whom grants.sql names, never by everyone.
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE audit_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- DO blocks are for those who migrate.
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO app_owner, audit_owner, app_migrate;

-- Functions by which a role without any table right could still write, fill the disk, hold locks
-- or end the sessions of its peers. NOTIFY as a statement cannot be revoked. Pools call
-- pg_advisory_unlock_all before they hand a session on; it can only let go.
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT oid::regprocedure
        FROM pg_catalog.pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace
          AND (
              proname LIKE 'lo\_%'
              OR (proname LIKE 'pg\_advisory\_%' AND proname <> 'pg_advisory_unlock_all')
              OR proname LIKE 'pg\_try\_advisory\_%'
              OR proname IN (
                  'loread', 'lowrite', 'pg_notify', 'pg_logical_emit_message',
                  'pg_cancel_backend', 'pg_terminate_backend', 'pg_export_snapshot'
              )
          )
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', v_function);
    END LOOP;
END
$$;

-- Shards are held by session locks inside the procedures; upgrades wait for each other.
GRANT EXECUTE ON FUNCTION
    pg_catalog.pg_try_advisory_lock(integer, integer),
    pg_catalog.pg_advisory_unlock(integer, integer),
    pg_catalog.pg_advisory_xact_lock(bigint)
TO app_owner;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) TO app_migrate;
-- The dev core lays its schema once, however many of it start. (Its pool may call
-- pg_advisory_unlock_all as everyone may; no DO block of it exists.)
GRANT EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock(bigint) TO core;
