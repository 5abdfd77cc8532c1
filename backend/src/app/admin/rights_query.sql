-- Every right in a database of the platform, one readable line each, the same on Postgres 15 to 18.
-- Owners' rights on their own objects are what they are everywhere, and left out.

WITH spaces AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname IN ('app', 'audit', 'auth_dev', 'market', 'reporting', 'security', 'public')
),
acls (sort, object, owner, acl) AS (
    SELECT 1, 'database', datdba, datacl FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 2, 'schema ' || n.nspname, n.nspowner, n.nspacl
    FROM pg_namespace AS n JOIN spaces ON spaces.oid = n.oid
    UNION ALL
    SELECT 3, 'language ' || lanname, lanowner, coalesce(lanacl, acldefault('l', lanowner))
    FROM pg_language WHERE lanpltrusted
    UNION ALL
    SELECT
        4,
        CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END
            || s.nspname || '.' || c.relname,
        c.relowner,
        c.relacl
    FROM pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
    UNION ALL
    SELECT 5, 'column ' || s.nspname || '.' || c.relname || '.' || a.attname, c.relowner, a.attacl
    FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid
    JOIN spaces AS s ON s.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL
    UNION ALL
    SELECT
        6, 'routine ' || s.nspname || '.' || p.proname, p.proowner,
        coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_proc AS p JOIN spaces AS s ON s.oid = p.pronamespace
    UNION ALL
    -- What was granted of the catalog beyond what Postgres ships with.
    SELECT 7, 'catalog routine ' || p.oid::regprocedure, p.proowner, p.proacl
    FROM pg_proc AS p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace
      AND p.proacl IS NOT NULL
      AND EXISTS (
          SELECT FROM aclexplode(p.proacl) AS x
          WHERE pg_get_userbyid(x.grantee) IN (
              'app_owner', 'audit_owner', 'app_migrate', 'app_write', 'app_worker', 'app_read',
              'core'
          )
      )
    UNION ALL
    SELECT
        8,
        'default of ' || pg_get_userbyid(defaclrole) || ' for '
            || CASE defaclobjtype WHEN 'f' THEN 'routines' ELSE defaclobjtype::text END,
        defaclrole,
        defaclacl
    FROM pg_default_acl
    UNION ALL
    -- The superuser owns what he may set.
    SELECT 8, 'setting ' || parname, 10, paracl FROM pg_parameter_acl
)
SELECT line FROM (
    SELECT 0 AS sort, format(
        'role %s:%s%s%s', r.rolname,
        CASE WHEN r.rolcanlogin THEN ' login' ELSE '' END,
        CASE WHEN r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication
            OR r.rolbypassrls OR r.rolinherit THEN ' DANGEROUS' ELSE '' END,
        coalesce((
            SELECT ' may become ' || string_agg(pg_get_userbyid(m.roleid), ', ' ORDER BY m.roleid)
            FROM pg_auth_members AS m WHERE m.member = r.oid
        ), '')
    ) AS line
    FROM pg_roles AS r
    WHERE r.rolname IN (
        'app_owner', 'audit_owner', 'app_migrate', 'app_write', 'app_worker', 'app_read', 'core'
    )
    UNION ALL
    SELECT a.sort, format(
        '%s: %s may %s%s', a.object,
        CASE x.grantee WHEN 0 THEN 'EVERYONE' ELSE pg_get_userbyid(x.grantee)::text END,
        string_agg(x.privilege_type, ', ' ORDER BY x.privilege_type),
        CASE WHEN bool_or(x.is_grantable) THEN ' AND GRANT IT' ELSE '' END
    )
    FROM acls AS a, aclexplode(a.acl) AS x
    WHERE x.grantee <> a.owner
    GROUP BY a.sort, a.object, x.grantee
    UNION ALL
    SELECT 9, format(
        'owner of %s.%s: %s%s', s.nspname, c.relname, pg_get_userbyid(c.relowner),
        CASE
            WHEN c.relkind = 'v' AND 'security_invoker=true' = ANY (c.reloptions)
            THEN ', security_invoker'
            WHEN c.relkind = 'v' THEN ', OPEN VIEW'
            WHEN c.relrowsecurity AND c.relforcerowsecurity THEN ', row security forced'
            ELSE ', NO ROW SECURITY'
        END
    )
    FROM pg_class AS c JOIN spaces AS s ON s.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND s.nspname NOT IN ('auth_dev', 'public')
    UNION ALL
    SELECT 10, format(
        'policy of %s.%s: %s: %s may %s where %s', s.nspname, c.relname, p.polname,
        (SELECT string_agg(pg_get_userbyid(r), ', ') FROM unnest(p.polroles) AS r),
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN '*' THEN 'ALL' END,
        regexp_replace(
            coalesce(pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid)),
            '\s+', ' ', 'g'
        )
    )
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    JOIN spaces AS s ON s.oid = c.relnamespace
) AS lines
ORDER BY sort, line COLLATE "C"
