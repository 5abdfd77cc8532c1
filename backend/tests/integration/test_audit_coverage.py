"""Every procedure that writes leaves an audit row, or is on a short list that says why not."""

import re
from collections.abc import Iterator

from fixtures_postgres import Database

WRITE = re.compile(
    r"\b(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO|TRUNCATE)\s+"
    r"((?:app|audit|market|security)\.\w+)"
)
CALL = re.compile(r"\b(?:app|market|security)\.(\w+)\s*\(")
APPEND = {"sp_audit_append", "sp_audit_append_all", "sp_audit_append_each"}
ROLES = ("app_write", "app_worker", "app_migrate", "app_read")

# What is written without an audit row, and why that is no gap.
WITHOUT_AUDIT = {
    "sp_acquire_shards": "who sends for a shard, by the second; each send is audited",
    "sp_renew_shards": "the same lease, held on",
    "sp_release_shards": "the same lease, given back",
    "sp_query_inflight": "a question owed to the broker; what the answer changes is audited",
    "sp_query_open": "the same question, of orders that rest",
    "sp_equity_sample": "derived from books and prices, and derivable again",
    "sp_rollup": "derived from finer bars, and derivable again",
    "sp_quotes_load": "prices, as sp_record_quotes",
    "sp_service_token_find": "when a program was seen last, to the minute; its acts are audited",
    "sp_notify_claim": "who delivers a message, by the minute; what it tells of is audited",
    "sp_quotes_heard": "prices, as sp_record_quotes",
    "sp_record_quotes": "prices as the market made them, hundreds a second; orders keep theirs",
}
# The only writers of the audit log itself.
LOG_WRITERS = APPEND | {"sp_audit_anchor_put"}


async def sources(database: Database) -> dict[str, str]:
    """Every routine of ours with its source, out of the catalog."""
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT p.proname, pg_get_functiondef(p.oid) AS source FROM pg_proc AS p"
        " JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('app', 'market', 'security', 'reporting') AND p.prokind IN ('f', 'p')"
    )
    return {row["proname"]: re.sub(r"--[^\n]*", "", row["source"]) for row in rows}


async def doors(database: Database) -> set[str]:
    """The routines that somebody may call."""
    connection = await database.connect("postgres")
    rows = await connection.fetch(
        "SELECT p.proname FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
        " WHERE n.nspname IN ('app', 'market', 'security', 'reporting')"
        " AND EXISTS (SELECT FROM unnest($1::text[]) AS r (name)"
        "   WHERE has_function_privilege(r.name, p.oid, 'EXECUTE'))",
        list(ROLES),
    )
    return {row["proname"] for row in rows}


def reached(name: str, source: dict[str, str]) -> Iterator[str]:
    """A routine and all that it calls, however deep."""
    seen, left = set[str](), [name]
    while left:
        one = left.pop()
        if one not in seen and one in source:
            seen.add(one)
            yield one
            left += CALL.findall(source[one])


async def test_every_door_that_writes_leads_to_the_audit_log(database: Database) -> None:
    source = await sources(database)
    silent = set()
    writing = set()
    for door in await doors(database):
        parts = set(reached(door, source))
        if any(WRITE.search(source[part]) for part in parts):
            writing.add(door)
            if not parts & APPEND:
                silent.add(door)
    assert len(writing) > 30
    assert silent == set(WITHOUT_AUDIT)


async def test_a_new_door_without_an_audit_row_is_seen(database: Database) -> None:
    superuser = await database.connect("postgres")
    await superuser.execute(
        "CREATE FUNCTION app.sp_helper() RETURNS void LANGUAGE sql AS"
        " 'DELETE FROM app.cash_balances';"
        "CREATE FUNCTION app.sp_sneaky() RETURNS void LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM app.sp_helper(); END';"
        "GRANT EXECUTE ON FUNCTION app.sp_sneaky() TO app_write"
    )
    source = await sources(database)
    parts = set(reached("sp_sneaky", source))
    assert "sp_sneaky" in await doors(database)
    assert "sp_helper" in parts
    assert any(WRITE.search(source[part]) for part in parts)


async def test_nothing_else_writes_the_audit_log(database: Database) -> None:
    source = await sources(database)
    writers = {
        name
        for name, text in source.items()
        if any(table.startswith("audit.") for table in WRITE.findall(text))
    }
    assert writers == LOG_WRITERS
