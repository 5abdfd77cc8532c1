"""Runs the revisions and what is repeatable, in one transaction, one upgrade at a time."""

import sqlalchemy
from alembic import context

from app.models import orm
from app.services.database_setup import SetupSettings, begin_upgrade, lay_repeatables

settings = context.config.attributes.get("settings") or SetupSettings.load()
engine = sqlalchemy.create_engine(settings.url("app_migrate"), poolclass=sqlalchemy.NullPool)

if context.is_offline_mode():
    raise SystemExit("the SQL files themselves are the scripts; run them in the revisions' order")

with engine.connect() as connection, connection.begin():
    begin_upgrade(connection)
    context.config.attributes["settings"] = settings
    context.configure(
        connection=connection,
        target_metadata=orm.User.metadata,
        version_table_schema="app",
        include_schemas=True,
    )
    context.run_migrations()
    lay_repeatables(connection, settings)
