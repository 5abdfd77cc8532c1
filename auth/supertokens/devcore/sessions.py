"""Sessions: one row each, and the state machine of their refresh tokens.

A row knows one refresh token: the last that was seen in use (its digest's digest). Refreshing with
it makes a child and changes nothing, so several tabs may refresh at once. The row moves on
("promotion") when a child is used: to verify, or to refresh again. A token that is neither the
row's nor its child was used before by somebody else: theft.
"""

import uuid
from typing import Any

import asyncpg

from devcore.core import Core, handles
from devcore.keys import digest
from devcore.store import now_ms
from devcore.tokens import Unreadable, own_data, unprotected
from devcore.wire import OK, Answer, BadRequest, Call

ALIVE = "SELECT * FROM auth_dev.sessions WHERE handle = $1 AND expires_at > $2 FOR UPDATE"


def gone(message: str = "Session missing in db or has expired") -> Answer:
    return {"status": "UNAUTHORISED", "message": message}


def brief(handle: str, user_id: str, data: Answer) -> Answer:
    ids = {"handle": handle, "userId": user_id, "recipeUserId": user_id}
    return ids | {"userDataInJWT": data, "tenantId": "public"}


def shown(row: Any) -> Answer:
    return brief(row["handle"], row["user_id"], row["jwt_data"])


async def promote(core: Core, connection: asyncpg.Connection, handle: str, hash1: str) -> None:
    """Let the row move on to a token that is now in use; the session lives longer."""
    sql = "UPDATE auth_dev.sessions SET refresh_hash2 = $2, expires_at = $3 WHERE handle = $1"
    expires_at = now_ms() + core.settings.refresh_validity_ms
    await connection.execute(sql, handle, digest(hash1), expires_at)


async def access_token(
    core: Core, row: Any, hash1: str, parent: str | None, expires_at: int | None = None
) -> Answer:
    claims = row["jwt_data"] | {"sub": row["user_id"], "rsub": row["user_id"]}
    hashes = {"refreshTokenHash1": hash1, "parentRefreshTokenHash1": parent}
    claims |= {"sessionHandle": row["handle"]} | hashes
    return await core.tokens.access(claims, row["static_key"], expires_at)


async def issued(core: Core, row: Any, refresh: str, parent: str | None) -> Answer:
    """Answer with a new pair of tokens."""
    created_at = now_ms()
    times = {"expiry": created_at + core.settings.refresh_validity_ms, "createdTime": created_at}
    access = await access_token(core, row, digest(refresh), parent)
    pair = {"accessToken": access, "refreshToken": {"token": refresh} | times}
    return OK | {"session": shown(row)} | pair


@handles("POST", "/recipe/session")
async def create(core: Core, call: Call) -> Answer:
    if call.flag("enableAntiCsrf", False):
        raise BadRequest("The development core knows no anti-CSRF tokens: use VIA_CUSTOM_HEADER")
    handle, created_at = str(uuid.uuid4()), now_ms()
    refresh = core.tokens.refresh(handle, None)
    data = unprotected(call.mapping("userDataInJWT")), call.mapping("userDataInDatabase")
    ids = handle, call.text("userId"), digest(digest(refresh))
    rest = not call.flag("useDynamicSigningKey", True), created_at
    expires_at = created_at + core.settings.refresh_validity_ms
    sql = "INSERT INTO auth_dev.sessions VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING *"
    row = await core.store.row(sql, *ids, *data, *rest, expires_at)
    return await issued(core, row, refresh, None)


@handles("POST", "/recipe/session/refresh")
async def refresh_session(core: Core, call: Call) -> Answer:
    token = call.text("refreshToken")
    read = core.tokens.read_refresh(token)
    if read is None:
        return gone("Failed to decode refresh token")
    (handle, parent), hash1 = read, digest(token)
    async with core.store.transaction() as connection:
        row = await connection.fetchrow(ALIVE, handle, now_ms())
        if row is None:
            return gone()
        if row["refresh_hash2"] != digest(hash1):
            if parent is None or row["refresh_hash2"] != digest(parent):
                ids = {"handle": handle, "userId": row["user_id"], "recipeUserId": row["user_id"]}
                return {"status": "TOKEN_THEFT_DETECTED", "session": ids}
            await promote(core, connection, handle, hash1)
    return await issued(core, row, core.tokens.refresh(handle, hash1), hash1)


@handles("POST", "/recipe/session/verify")
async def verify(core: Core, call: Call) -> Answer:
    try:
        claims = await core.tokens.read(call.text("accessToken"))
    except Unreadable as error:
        return {"status": "TRY_REFRESH_TOKEN", "message": str(error)}
    handle, data = claims["sessionHandle"], own_data(claims)
    hash1, parent = claims["refreshTokenHash1"], claims["parentRefreshTokenHash1"]
    as_given = OK | {"session": brief(handle, claims["sub"], data)}
    if parent is None and not call.flag("checkDatabase", False):
        return as_given
    async with core.store.transaction() as connection:
        row = await connection.fetchrow(ALIVE, handle, now_ms())
        if row is None:
            return gone()
        promoted = parent is not None and row["refresh_hash2"] == digest(parent)
        if promoted:
            await promote(core, connection, handle, hash1)
    # A sibling's access token stays good as it is; its refresh token is another matter.
    renewed = promoted or (parent is not None and row["refresh_hash2"] == digest(hash1))
    if not renewed and row["jwt_data"] == data:
        return as_given
    token = await access_token(core, row, hash1, None if renewed else parent)
    return OK | {"session": shown(row), "accessToken": token}


@handles("POST", "/recipe/session/regenerate")
async def regenerate(core: Core, call: Call) -> Answer:
    """Change what the access token says of the user; its expiry stays."""
    try:
        claims = await core.tokens.read(call.text("accessToken"), check_expiry=False)
    except Unreadable as error:
        return gone(str(error))
    data = unprotected(call.mapping("userDataInJWT"))
    sql = (
        "UPDATE auth_dev.sessions SET jwt_data = $2 WHERE handle = $1 AND expires_at > $3"
        " RETURNING *"
    )
    row = await core.store.row(sql, claims["sessionHandle"], data, now_ms())
    if row is None or claims["exp"] * 1000 < now_ms():
        return gone() if row is None else OK | {"session": shown(row)}
    hashes = claims["refreshTokenHash1"], claims["parentRefreshTokenHash1"]
    token = await access_token(core, row, *hashes, claims["exp"] * 1000)
    return OK | {"session": shown(row), "accessToken": token}
