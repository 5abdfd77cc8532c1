"""Procedures of notifications; side effect: Postgres."""

import json
from dataclasses import dataclass
from typing import Any

import asyncpg

from app.services.sp_call import refusals, rows
from app.services.sp_rows import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel as it is to be; without a sealed address the old one stays."""

    name: str
    sealed: bytes | None
    fingerprint: bytes | None
    hint: str | None
    kinds: list[str]
    account_ids: list[int] | None
    interval_s: int
    enabled: bool


async def notify_set(
    connection: asyncpg.Connection, caller: Caller, request_id: str, channel: Channel
) -> None:
    """Make or change a channel of the caller's."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_notify_set($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            caller.user_id,
            caller.session_handle,
            request_id,
            channel.name,
            channel.sealed,
            channel.fingerprint,
            channel.hint,
            channel.kinds,
            channel.account_ids,
            channel.interval_s,
            channel.enabled,
        )


async def notify_list(connection: asyncpg.Connection, caller: Caller) -> list[dict[str, Any]]:
    """Show the caller's channels, without their addresses."""
    query = "SELECT one::text FROM app.sp_notify_list($1, $2) AS one"
    found = await rows(connection, query, caller.user_id, caller.session_handle)
    return [json.loads(row["one"]) for row in found]


async def notify_remove(
    connection: asyncpg.Connection, caller: Caller, request_id: str, name: str
) -> None:
    """End a channel of the caller's."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_notify_remove($1, $2, $3, $4)",
            *(caller.user_id, caller.session_handle, request_id, name),
        )


async def notify_test(
    connection: asyncpg.Connection, caller: Caller, request_id: str, name: str
) -> None:
    """Owe a test message to a channel of the caller's."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_notify_test($1, $2, $3, $4)",
            *(caller.user_id, caller.session_handle, request_id, name),
        )


async def admin_notify(
    connection: asyncpg.Connection, caller: Caller, request_id: str, channel_id: int, action: str
) -> None:
    """Requeue or remove anyone's channel, as an administrator."""
    async with refusals():
        await connection.execute(
            "SELECT app.sp_admin_notify($1, $2, $3, $4, $5)",
            *(caller.user_id, caller.session_handle, request_id, channel_id, action),
        )
