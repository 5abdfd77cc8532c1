"""Time series: bars, quotes and equity, as hypertables or range partitions."""

from alembic import context, op

from app.services.database_setup import run_files

revision = "20260109_timeseries"
down_revision = "20260109_init"
branch_labels = None
depends_on = None

# Each file with the role that owns what it makes.
FILES = (("app_owner", "db/postgres/timeseries/hypertables.sql"),)


def upgrade() -> None:
    """Run the files."""
    run_files(op.get_bind(), context.config.attributes["settings"], FILES)
