"""The revisions: named as their files, in one line, every SQL file laid exactly once."""

import ast
import re
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from app.services.database_setup import (
    REPOSITORY_DIR,
    SetupSettings,
    alembic_config,
    checksum,
    frozen_files,
    repeatable_files,
)

SETTINGS = SetupSettings(secrets_dir=Path("/nonexistent"))
VERSIONS = sorted((REPOSITORY_DIR / "backend/alembic/versions").glob("*.py"))
ONCE_A_DATABASE = {
    "db/postgres/security/roles.sql",
    "db/postgres/security/database.sql",
    "db/postgres/timeseries/enable_timescaledb.sql",
}


def assigned(path: Path, name: str) -> object:
    """Return the literal that a revision file assigns to a name."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


def versioned_files() -> list[str]:
    """Return the files of all revisions."""
    names: list[str] = []
    for path in VERSIONS:
        files = assigned(path, "FILES")
        assert isinstance(files, tuple)
        names += [name for _, name in files]
    return names


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_revision_is_named_as_its_file(path: Path) -> None:
    assert assigned(path, "revision") == path.stem
    assert len(path.stem) <= 32


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(alembic_config(SETTINGS)).get_heads()) == 1


def test_every_sql_file_is_laid_by_one_step() -> None:
    laid = versioned_files() + repeatable_files(SETTINGS) + sorted(ONCE_A_DATABASE)
    found = [f"db/{p.relative_to(REPOSITORY_DIR / 'db')}" for p in sql_files()]
    assert sorted(laid) == sorted([*found, "app/audits/schema.sql", "app/outbox/schema.sql"])


def sql_files() -> list[Path]:
    """Return every SQL file under db."""
    return list((REPOSITORY_DIR / "db").rglob("*.sql"))


def test_released_table_files_are_unchanged() -> None:
    for name, digest in frozen_files(SETTINGS).items():
        assert name in versioned_files(), f"{name} was released and is gone"
        assert checksum(SETTINGS.path(name).read_text()) == digest, f"{name} was released"


@pytest.mark.parametrize("path", sql_files(), ids=lambda path: path.name)
def test_a_security_definer_routine_pins_its_search_path(path: Path) -> None:
    for routine in path.read_text().split("CREATE OR REPLACE FUNCTION")[1:]:
        head = routine.split("$$")[0]
        if "SECURITY DEFINER" in head:
            assert "SET search_path = pg_catalog, pg_temp" in head


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY_DIR / "db/postgres/procedures").glob("*.sql")), ids=lambda p: p.stem
)
def test_a_procedure_file_holds_the_routine_of_its_name(path: Path) -> None:
    text = path.read_text()
    names = {"FUNCTION": path.stem, "AGGREGATE": path.stem, "TYPE": path.stem.removeprefix("sp_")}
    assert any(re.search(rf"{kind} app\.{name}\b", text) for kind, name in names.items())
