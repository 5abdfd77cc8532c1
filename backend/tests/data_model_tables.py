"""Draws the generated parts of docs/data_model.md from a migrated database and the SQL files."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from app.services.database_setup import REPOSITORY_DIR, SetupSettings, repeatable_files

PAGE = REPOSITORY_DIR / "docs/data_model.md"
MARKED = re.compile(r"(<!-- BEGIN GENERATED (\w+) -->\n).*?(<!-- END GENERATED -->)", re.DOTALL)
SETTINGS = SetupSettings(secrets_dir=Path("/nonexistent"))
LOGIN_ROLES = ("app_write", "app_worker", "app_migrate", "app_read")

Rows = list[dict[str, Any]]
Connection = psycopg.Connection[Any]

ROLES = """
    SELECT
        r.rolname AS role,
        CASE WHEN r.rolcanlogin THEN 'yes' ELSE 'no' END AS "logs in",
        CASE WHEN r.rolconnlimit >= 0 THEN r.rolconnlimit::text ELSE '' END AS sessions,
        coalesce((
            SELECT string_agg(pg_get_userbyid(m.roleid)::text, ', ' ORDER BY m.roleid)
            FROM pg_auth_members AS m WHERE m.member = r.oid
        ), '') AS "may become",
        (
            SELECT count(*) FROM pg_proc AS p WHERE p.pronamespace = 'app'::regnamespace
              AND p.proowner <> r.oid AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
        ) AS procedures,
        (
            SELECT count(*) FROM pg_class AS c
            WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind = 'v'
              AND c.relowner <> r.oid AND has_table_privilege(r.oid, c.oid, 'SELECT')
        ) AS views
    FROM pg_roles AS r
    WHERE r.rolname ~ '^(app|audit)_|^core$'
    ORDER BY r.rolcanlogin, r.rolname
"""
STATES = """
    SELECT status_before AS state, string_agg(status_after, ', ' ORDER BY status_after)
        AS "may become"
    FROM app.order_transitions GROUP BY 1 ORDER BY 1
"""
DENIALS = "SELECT '`' || code || '`' AS code, meaning FROM app.denial_codes ORDER BY code"
POLICIES = """
    SELECT
        c.oid::regclass::text AS "table", p.polname AS policy,
        (SELECT string_agg(pg_get_userbyid(r)::text, ', ' ORDER BY r) FROM unnest(p.polroles) AS r)
            AS "for",
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' ELSE 'ALL' END AS statements
    FROM pg_policy AS p
    JOIN pg_class AS c ON c.oid = p.polrelid
    WHERE p.polname <> 'owner_all' AND c.relnamespace::regnamespace::text <> 'auth_dev'
    ORDER BY 1, 2
"""
RELATIONS = """
    SELECT c.oid, c.oid::regclass::text AS name, c.relkind = 'v' AS view
    FROM pg_class AS c
    WHERE c.relnamespace::regnamespace::text IN ('app', 'audit', 'market', 'reporting', 'security')
      AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
      AND c.oid::regclass::text <> 'app.alembic_version'
    ORDER BY c.relkind = 'v', 2
"""
COLUMNS = """
    SELECT
        a.attname AS "column",
        format_type(a.atttypid, a.atttypmod) AS type,
        CASE WHEN a.attnotnull THEN '' ELSE 'null' END AS "null",
        concat_ws(' ',
            (
                SELECT CASE k.contype WHEN 'p' THEN 'key' ELSE 'unique' END
                FROM pg_constraint AS k
                WHERE k.conrelid = a.attrelid AND k.contype IN ('p', 'u')
                  AND a.attnum = ANY (k.conkey)
                ORDER BY k.contype = 'p' DESC, k.conname LIMIT 1
            ),
            (
                SELECT 'of ' || k.confrelid::regclass
                FROM pg_constraint AS k
                WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND a.attnum = ANY (k.conkey)
                  AND k.conparentid = 0
                LIMIT 1
            )
        ) AS "is",
        CASE WHEN has_column_privilege('app_read', a.attrelid, a.attnum, 'SELECT')
            THEN 'yes' ELSE '' END AS app_read
    FROM pg_attribute AS a
    WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
ROUTINES = """
    SELECT p.proname AS name, has_function_privilege('app_write', p.oid, 'EXECUTE') AS app_write,
        has_function_privilege('app_worker', p.oid, 'EXECUTE') AS app_worker,
        has_function_privilege('app_migrate', p.oid, 'EXECUTE') AS app_migrate,
        has_function_privilege('app_read', p.oid, 'EXECUTE') AS app_read
    FROM pg_proc AS p
    WHERE p.pronamespace IN ('app'::regnamespace, 'reporting'::regnamespace)
    ORDER BY 1
"""


def drawn(page: str, connection: Connection) -> str:
    """Return the page with each generated part as the database has it."""

    def part(match: re.Match[str]) -> str:
        return match[1] + PARTS[match[2]](connection) + match[3]

    return MARKED.sub(part, page)


def _rows(connection: Connection, query: str, *arguments: object) -> Rows:
    with connection.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(query.encode(), arguments or None))


def _table(rows: Rows) -> str:
    """Draw a table without the columns that are empty in every row."""
    names = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _relations(connection: Connection, *, views: bool) -> str:
    said = comments()
    rows = []
    for relation in _rows(connection, RELATIONS):
        if relation["view"] is views:
            name = relation["name"]
            columns = _rows(connection, COLUMNS, relation["oid"])
            cells = ", ".join(_column(column, marked=not views) for column in columns)
            kind = "view" if views else "table"
            rows.append({kind: f"`{name}`", "columns": cells, "says": said.get(name, "")})
    return _table(rows)


def _column(column: dict[str, Any], *, marked: bool) -> str:
    name = f"**{column['column']}**" if marked and column["app_read"] else column["column"]
    kind = column["type"].replace("timestamp with time zone", "timestamptz")
    # Postgres calls every column of a view nullable.
    more = [column["null"], column["is"]] if marked else []
    return " ".join(filter(None, [name, kind, *more]))


def _routines(connection: Connection) -> str:
    rows = []
    for routine in _rows(connection, ROUTINES):
        callers = [role for role in LOGIN_ROLES if routine[role]]
        path = REPOSITORY_DIR / f"db/postgres/procedures/{routine['name']}.sql"
        if callers and path.exists():
            cells = {"procedure": f"`{_signature(path)}`", "called by": ", ".join(callers)}
            rows.append(cells)
    return _table(rows)


def _signature(path: Path) -> str:
    """Return the first sentence of a procedure's head, up to where its arguments end."""
    head = ""
    for line in path.read_text().splitlines():
        head = f"{head} {line.removeprefix('--').strip()}".strip()
        if ")" in head:
            break
    return head.partition(". ")[0].rstrip(".")


def comments() -> dict[str, str]:
    """Return what the SQL files say right above a table or view, as a paragraph."""
    return {name: text for path in _sources() for name, text in _comments(path.read_text())}


def _sources() -> Iterator[Path]:
    yield from (REPOSITORY_DIR / "db/postgres/schemas").glob("*.sql")
    yield from (SETTINGS.path(f"app/{part}/schema.sql") for part in ("outbox", "audits"))
    yield from (SETTINGS.path(n) for n in repeatable_files(SETTINGS) if "reporting" in n)


def _comments(text: str) -> Iterator[tuple[str, str]]:
    for match in re.finditer(r"((?:^--.*\n)+)CREATE (?:TABLE|VIEW) ([\w.]+)", text, re.MULTILINE):
        said = " ".join(line.removeprefix("--").strip() for line in match[1].splitlines())
        yield match[2], said


PARTS: dict[str, Callable[[Connection], str]] = {
    "roles": lambda connection: _table(_rows(connection, ROLES)),
    "states": lambda connection: _table(_rows(connection, STATES)),
    "denials": lambda connection: _table(_rows(connection, DENIALS)),
    "policies": lambda connection: _table(_rows(connection, POLICIES)),
    "tables": lambda connection: _relations(connection, views=False),
    "views": lambda connection: _relations(connection, views=True),
    "procedures": _routines,
}
