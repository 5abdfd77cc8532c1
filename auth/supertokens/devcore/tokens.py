"""Access tokens, version 5, and refresh tokens, which only we can read."""

import base64
import json
import os
from typing import Any

import jwt

from devcore.keys import KeyRing, Seal
from devcore.settings import Settings
from devcore.store import now_ms
from devcore.wire import Answer, BadRequest

PROTECTED = {
    *("sub", "iat", "exp", "sessionHandle", "parentRefreshTokenHash1", "refreshTokenHash1"),
    *("antiCsrfToken", "rsub", "tId", "stt"),
}


class Unreadable(Exception):
    """The access token is not ours, not intact, or expired; its text says which."""


class Tokens:
    """Makes and reads both kinds of tokens."""

    def __init__(self, keys: KeyRing, settings: Settings) -> None:
        self._keys = keys
        self._seal = Seal(settings.core_api_key, b"refresh tokens")
        self._validity_ms = settings.access_validity_ms

    async def access(self, claims: Answer, static: bool, expires_at: int | None = None) -> Answer:
        created_at = now_ms()
        expires_s = (expires_at or created_at + self._validity_ms) // 1000
        times = {"iat": created_at // 1000, "exp": expires_s}
        key = await self._keys.current(static=static)
        claims = claims | times | {"tId": "public", "antiCsrfToken": None}
        headers = {"kid": key.key_id, "version": "5"}
        token = jwt.encode(claims, key.private, algorithm="RS256", headers=headers)
        return {"token": token, "expiry": expires_s * 1000, "createdTime": created_at}

    async def read(self, token: str, *, check_expiry: bool = True) -> Answer:
        """Return the claims of an access token."""
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid"))
            public = (await self._keys.known())[key_id].private.public_key()
            options: Any = {"verify_exp": check_expiry, "verify_iat": False}
            claims = jwt.decode(token, public, algorithms=["RS256"], options=options)
        except KeyError as error:
            raise Unreadable("No matching signing key") from error
        except (jwt.PyJWTError, UnicodeError) as error:
            raise Unreadable(str(error)) from error
        if "refreshTokenHash1" not in claims or claims.get("stt", 0) != 0:
            raise Unreadable("Access token does not contain all the information")
        return claims

    def refresh(self, handle: str, parent_hash1: str | None) -> str:
        """Make a refresh token; no two are alike."""
        plain = json.dumps([handle, parent_hash1, os.urandom(8).hex()])
        sealed = self._seal.close(plain.encode())
        return f"{base64.b64encode(sealed[12:]).decode()}.{sealed[:12].hex()}.V2"

    def read_refresh(self, token: str) -> tuple[str, str | None] | None:
        """Return handle and parent of a refresh token; None when we did not make it."""
        try:
            text, nonce, version = token.split(".")
            plain = self._seal.open(bytes.fromhex(nonce) + base64.b64decode(text, validate=True))
        except ValueError:
            return None
        return tuple(json.loads(plain)[:2]) if plain and version == "V2" else None


def own_data(claims: Answer) -> Answer:
    """Return the part of a token that is the application's."""
    return {name: value for name, value in claims.items() if name not in PROTECTED}


def unprotected(data: Answer) -> Answer:
    """Refuse user data that would overwrite what a token says of its session."""
    if PROTECTED & data.keys():
        raise BadRequest("The user payload contains protected field")
    return data
