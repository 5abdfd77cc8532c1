"""Waits until the database is at the revision that this image was built for.

    python await_schema.py app_write|app_worker

Runs before the process of a pod, so that no release meets a schema it does not know: the migrate
job of the same release may still be at work. Kubernetes ends the wait with the pod.
"""

import asyncio
import sys
from typing import get_args

from asyncpg import PostgresError

from app.core.errors import AppError
from app.core.logging import configure_logging, get_logger
from app.core.settings import load_settings
from app.services import sp
from app.services.db import SCHEMA_REVISION, Database, DatabaseRole, create_engine

log = get_logger("await_schema")

PAUSE_S = 1.0


async def revision(database: Database) -> str | None:
    """Return the revision of the database; None while it cannot be asked."""
    try:
        async with database.transaction() as connection:
            return await sp.schema_revision(connection)
    except (AppError, PostgresError) as error:
        log.warning("schema_unknown", reason=type(error).__name__)
        return None


async def wait(role: DatabaseRole) -> None:
    """Ask until the answer is the revision of this image."""
    settings = load_settings()
    configure_logging(settings.log_level, "await_schema")
    database = Database(create_engine(settings, role))
    try:
        while (found := await revision(database)) != SCHEMA_REVISION:
            log.info("schema_awaited", found=found, wanted=SCHEMA_REVISION)
            await asyncio.sleep(PAUSE_S)
    finally:
        await database.close()


def main(arguments: list[str]) -> int:
    """Wait for a role; return the exit code."""
    roles: tuple[DatabaseRole, ...] = get_args(DatabaseRole)
    chosen = [role for role in roles if arguments == [role]]
    if not chosen:
        sys.stderr.write(f"usage: await_schema.py {'|'.join(roles)}\n")
        return 2
    asyncio.run(wait(chosen[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
