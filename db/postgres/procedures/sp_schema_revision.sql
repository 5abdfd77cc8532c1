-- sp_schema_revision() -> the revision which this database is at; readiness asks for it.
-- Callers: app_write, app_worker.

CREATE OR REPLACE FUNCTION app.sp_schema_revision() RETURNS text
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT v.version_num FROM app.alembic_version AS v $$;
