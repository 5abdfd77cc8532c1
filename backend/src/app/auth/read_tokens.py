"""The token by which the database believes who reads: security.token_user() checks it."""

import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.core.settings import Settings

# The name under which `migrate` keeps the key.
KEY_ID = "k1"
VALID = timedelta(minutes=5)


def sign_read_token(settings: Settings, user_id: UUID) -> tuple[str, datetime]:
    """Sign `kid.user.exp`; returns the token and when it ends.

    It says who, nothing else: role, memberships and whether the user is disabled are looked up at
    each read, so a token never shows more than its user may see at that moment.
    """
    expires_at = (datetime.now(UTC) + VALID).replace(microsecond=0)
    signed = f"{KEY_ID}.{user_id}.{int(expires_at.timestamp())}"
    key = settings.secret("db_token_key").encode()
    return f"{signed}.{hmac.digest(key, signed.encode(), 'sha256').hex()}", expires_at
