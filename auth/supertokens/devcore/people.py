"""Users who sign in with e-mail and password."""

import base64
import os
import uuid

import asyncpg

from devcore.core import Core, handles
from devcore.keys import digest
from devcore.store import now_ms
from devcore.wire import OK, Answer, Call

RESET_VALIDITY_MS = 3_600_000
UNKNOWN_USER = {"status": "UNKNOWN_USER_ID_ERROR"}
EMAIL_TAKEN = {"status": "EMAIL_ALREADY_EXISTS_ERROR"}


def normal(email: str) -> str:
    return email.strip().lower()


@handles("POST", "/recipe/signup")
async def sign_up(core: Core, call: Call) -> Answer:
    email, hashed = normal(call.text("email")), await core.passwords.hash(call.text("password"))
    sql = (
        "INSERT INTO auth_dev.users AS u VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING RETURNING user_id, auth_dev.shown(u) AS shown"
    )
    row = await core.store.row(sql, str(uuid.uuid4()), email, hashed, now_ms())
    return OK | {"user": row["shown"], "recipeUserId": row["user_id"]} if row else EMAIL_TAKEN


@handles("POST", "/recipe/signin")
async def sign_in(core: Core, call: Call) -> Answer:
    email, password = normal(call.text("email")), call.text("password")
    sql = "SELECT *, auth_dev.shown(u) AS shown FROM auth_dev.users AS u WHERE email = $1"
    row = await core.store.row(sql, email)
    if not await core.passwords.matches(row and row["password_hash"], password):
        return {"status": "WRONG_CREDENTIALS_ERROR"}
    return OK | {"user": row["shown"], "recipeUserId": row["user_id"]}


@handles("POST", "/recipe/user/password/reset/token")
async def make_reset_token(core: Core, call: Call) -> Answer:
    token = base64.urlsafe_b64encode(os.urandom(48)).decode()
    sql = (
        "INSERT INTO auth_dev.reset_tokens SELECT $1, user_id, $3, $4 FROM auth_dev.users"
        " WHERE user_id = $2 RETURNING user_id"
    )
    values = call.text("userId"), normal(call.text("email")), now_ms() + RESET_VALIDITY_MS
    made = await core.store.row(sql, digest(token), *values)
    return OK | {"token": token} if made else UNKNOWN_USER


@handles("POST", "/recipe/user/password/reset/token/consume")
async def use_reset_token(core: Core, call: Call) -> Answer:
    """Use a token once; the others of its user are worth nothing from then on."""
    sql = (
        "DELETE FROM auth_dev.reset_tokens WHERE user_id = (SELECT user_id FROM"
        " auth_dev.reset_tokens WHERE token_hash = $1 AND expires_at > $2) RETURNING *"
    )
    hashed = digest(call.text("token"))
    for row in await core.store.rows(sql, hashed, now_ms()):
        if row["token_hash"] == hashed:
            return OK | {"userId": row["user_id"], "email": row["email"]}
    return {"status": "RESET_PASSWORD_INVALID_TOKEN_ERROR"}


@handles("PUT", "/recipe/user")
async def change(core: Core, call: Call) -> Answer:
    email = normal(call.text("email")) if call.has("email") else None
    new = call.has("password")
    hashed = await core.passwords.hash(call.text("password")) if new else None
    sql = (
        "UPDATE auth_dev.users SET email = COALESCE($2, email),"
        " password_hash = COALESCE($3, password_hash) WHERE user_id = $1 RETURNING user_id"
    )
    try:
        changed = await core.store.row(sql, call.text("recipeUserId"), email, hashed)
    except asyncpg.UniqueViolationError:
        return EMAIL_TAKEN
    return OK if changed else UNKNOWN_USER
