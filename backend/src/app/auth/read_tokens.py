"""The token by which the database believes who reads: security.token_user() checks it."""

import hmac
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.core.settings import Settings
from app.core.token_keys import key_id_of

VALID = timedelta(minutes=5)


def sign_read_token(settings: Settings, user_id: UUID) -> tuple[str, datetime]:
    """Sign `kid.user.exp`; returns the token and when it ends.

    It says who, nothing else: role, memberships and whether the user is disabled are looked up at
    each read, so a token never shows more than its user may see at that moment.
    """
    expires_at = (datetime.now(UTC) + VALID).replace(microsecond=0)
    key = settings.secret("db_token_key")
    signed = f"{key_id_of(key)}.{user_id}.{int(expires_at.timestamp())}"
    return f"{signed}.{hmac.digest(key.encode(), signed.encode(), 'sha256').hex()}", expires_at
