-- The roles of the platform and what each may cost the server.
-- Cluster-wide; run by `bootstrap` as superuser, as often as wanted. Passwords are set beside it.
--
--   app_owner, audit_owner   own the tables and procedures; nobody can log in as them
--   app_migrate              may become both; migrations, seed, first administrator
--   app_write                the API: calls procedures, touches no table
--   app_worker               the worker: calls procedures, touches no table
--   app_read                 the UI: reads the reporting views of one user
--   core                     the identity core: its own schema and nothing else

DO $$
DECLARE
    v_role text;
    v_database text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY[
        'app_owner', 'audit_owner', 'app_migrate', 'app_write', 'app_worker', 'app_read', 'core'
    ] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = v_role) THEN
            EXECUTE format('CREATE ROLE %I', v_role);
        END IF;
        EXECUTE format(
            'ALTER ROLE %I NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT',
            v_role
        );
        -- A role may change its own defaults, also for one database; what it set is taken back.
        EXECUTE format('ALTER ROLE %I RESET ALL', v_role);
        FOR v_database IN
            SELECT d.datname FROM pg_catalog.pg_db_role_setting AS s
            JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
            WHERE s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = v_role)
        LOOP
            EXECUTE format('ALTER ROLE %I IN DATABASE %I RESET ALL', v_role, v_database);
        END LOOP;
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog', v_role);
    END LOOP;
END
$$;

ALTER ROLE app_owner NOLOGIN;
ALTER ROLE audit_owner NOLOGIN;
ALTER ROLE app_migrate LOGIN CONNECTION LIMIT 10;
ALTER ROLE app_write LOGIN CONNECTION LIMIT 35;
ALTER ROLE app_worker LOGIN CONNECTION LIMIT 12;
ALTER ROLE app_read LOGIN CONNECTION LIMIT 15;
ALTER ROLE core LOGIN CONNECTION LIMIT 20;

-- app_migrate becomes an owner by SET ROLE and inherits nothing. 15 knows no WITH INHERIT; there
-- NOINHERIT of the role does the same.
DO $$
DECLARE
    v_options text := '';
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        v_options := ' WITH INHERIT FALSE, SET TRUE';
    END IF;
    EXECUTE 'GRANT app_owner, audit_owner TO app_migrate' || v_options;
END
$$;

-- Where security.token_accounts() keeps what it found (token.sql), out of the reach of its callers.
GRANT SET ON PARAMETER backtrace_functions TO app_owner;

ALTER ROLE app_migrate SET lock_timeout = '5s';
ALTER ROLE app_migrate SET idle_in_transaction_session_timeout = '60s';

ALTER ROLE app_write SET statement_timeout = '5s';
ALTER ROLE app_write SET lock_timeout = '3s';
ALTER ROLE app_write SET idle_in_transaction_session_timeout = '10s';

ALTER ROLE app_worker SET statement_timeout = '15s';
ALTER ROLE app_worker SET lock_timeout = '5s';
ALTER ROLE app_worker SET idle_in_transaction_session_timeout = '15s';

-- A held snapshot slows the outbox down fourfold, so readers are kept short.
ALTER ROLE app_read SET default_transaction_read_only = on;
ALTER ROLE app_read SET statement_timeout = '10s';
ALTER ROLE app_read SET lock_timeout = '2s';
ALTER ROLE app_read SET idle_in_transaction_session_timeout = '15s';

ALTER ROLE core SET search_path = auth_dev, pg_catalog;
ALTER ROLE core SET statement_timeout = '10s';
ALTER ROLE core SET idle_in_transaction_session_timeout = '15s';

DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 170000 THEN
        ALTER ROLE app_read SET transaction_timeout = '30s';
        ALTER ROLE app_write SET transaction_timeout = '15s';
    END IF;
END
$$;
