"""docs/data_model.md says what the database is."""

import os

import psycopg
import pytest
from data_model_tables import MARKED, PAGE, PARTS, drawn
from fixtures_postgres import Database


def test_the_generated_parts_are_those_of_the_database(database: Database) -> None:
    with psycopg.connect(database.dsn("postgres")) as connection:
        page = PAGE.read_text()
        fresh = drawn(page, connection)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(fresh)
    assert PAGE.read_text() == fresh, "docs/data_model.md is stale: make docs"


def test_every_part_is_on_the_page_once() -> None:
    assert sorted(match[2] for match in MARKED.finditer(PAGE.read_text())) == sorted(PARTS)


def test_a_new_column_makes_the_page_stale(database: Database) -> None:
    with psycopg.connect(database.dsn("postgres")) as connection:
        before = drawn(PAGE.read_text(), connection)
        connection.execute("ALTER TABLE app.users ADD COLUMN color text")
        connection.execute("GRANT SELECT (color) ON app.users TO app_read")
        after = drawn(PAGE.read_text(), connection)
        connection.rollback()
    added = set(after.splitlines()) - set(before.splitlines())
    assert any("`app.users`" in line and "**color** text null" in line for line in added)


@pytest.mark.parametrize("role", ["app_read", "app_write", "app_worker", "app_migrate"])
def test_every_role_is_named_on_the_page(role: str) -> None:
    assert f"| {role} | yes |" in PAGE.read_text()
