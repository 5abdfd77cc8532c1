<%
    import re

    # The revision is named as Alembic names its file; see truncate_slug_length.
    slug = "_".join(re.findall("[A-Za-z0-9_]+", message)).lower()
    if len(slug) > 22:
        slug = slug[:22].rsplit("_", 1)[0] + "_"
    stem = create_date.strftime("%Y%m%d_") + slug
%>\
"""${message}."""

from alembic import context, op
from app.services.database_setup import run_files

revision = "${stem}"
down_revision = "${down_revision}"
branch_labels = None
depends_on = None

# Each file with the role that owns what it makes; put changes into db/migrations.
FILES: tuple[tuple[str, str], ...] = ()


def upgrade() -> None:
    """Run the files."""
    run_files(op.get_bind(), context.config.attributes["settings"], FILES)
