"""Tables of accounts, orders, outbox and audit."""

from alembic import context, op

from app.services.database_setup import run_files

revision = "20260109_init"
down_revision = None
branch_labels = None
depends_on = None

# Each file with the role that owns what it makes.
FILES = (
    ("app_owner", "db/postgres/schemas/00_base.sql"),
    ("app_owner", "db/postgres/schemas/10_orders.sql"),
    ("app_owner", "db/postgres/schemas/11_open_bound.sql"),
    ("app_owner", "db/postgres/schemas/11_whole_rows.sql"),
    ("app_owner", "db/postgres/schemas/30_notifications.sql"),
    ("app_owner", "app/outbox/schema.sql"),
    ("audit_owner", "app/audits/schema.sql"),
)


def upgrade() -> None:
    """Run the files."""
    run_files(op.get_bind(), context.config.attributes["settings"], FILES)
