"""The hot store over HTTP: a version is an ETag, compare-and-set is If-Match."""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Query, Request, Response, status

from app.api.dependencies import HotQuotesDep, LiveUser
from app.api.openapi import merged, problems
from app.api.routing import session_router
from app.auth.rbac import Role
from app.core import errors
from app.models.dto import Stored, moment_text
from app.services.lmdb_actor import LmdbActor
from app.services.sp_rows import SessionUser

KEY_BYTES_MAX = 511
TTL_S_MAX = 31_536_000
VERSION_TAG = re.compile(r'"([1-9][0-9]{0,18})"')

router = session_router("/api/lmdb", "hot store", family="hot")


@dataclass(frozen=True, slots=True)
class Table:
    """Who may do what with a table; `write` None means the platform alone."""

    read: Role
    write: Role | None
    media_type: str


TABLES = {
    "quotes": Table(read=Role.VIEWER, write=None, media_type="application/json"),
    "strategy": Table(read=Role.TRADER, write=Role.TRADER, media_type="application/octet-stream"),
}
KNOWN_PROBLEMS = problems(
    errors.SessionRevoked,
    errors.RoleNotAllowed,
    errors.TableNotFound,
    errors.KeyNotFound,
    errors.HotStoreUnavailable,
)
WRITE_PROBLEMS = merged(
    KNOWN_PROBLEMS,
    problems(
        errors.PreconditionInvalid,
        errors.PreconditionFailed,
        errors.TableReadOnly,
        errors.HotStoreBusy,
    ),
)
PRECONDITIONS = [
    {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
    for name in ("If-Match", "If-None-Match")
]


async def _store(hot_quotes: HotQuotesDep) -> LmdbActor:
    if hot_quotes.actor is None:
        raise errors.HotStoreUnavailable()
    return hot_quotes.actor


async def _readable(table: str, user: LiveUser) -> Table:
    return _allowed(table, user, TABLES[table].read if table in TABLES else None)


async def _writable(table: str, user: LiveUser) -> Table:
    if table in TABLES and TABLES[table].write is None:
        raise errors.TableReadOnly()
    return _allowed(table, user, TABLES[table].write if table in TABLES else None)


def _allowed(table: str, user: SessionUser, needed: Role | None) -> Table:
    if needed is None:
        raise errors.TableNotFound()
    if not Role(user.role).covers(needed):
        raise errors.RoleNotAllowed(f"The table {table} needs the role {needed.value}.")
    return TABLES[table]


async def _key(key: Annotated[str, Path(description="1 to 511 bytes of UTF-8")]) -> str:
    if not 1 <= len(key.encode()) <= KEY_BYTES_MAX:
        raise errors.ValidationFailed(errors=[{"loc": ["path", "key"], "type": "key_length"}])
    return key


Store = Annotated[LmdbActor, Depends(_store)]
Readable = Annotated[Table, Depends(_readable)]
Writable = Annotated[Table, Depends(_writable)]
Key = Annotated[str, Depends(_key)]
Ttl = Annotated[int | None, Query(ge=1, le=TTL_S_MAX, description="Seconds until it expires")]


def expected_version(request: Request, store: LmdbActor, table: str, key: str) -> int | None:
    """Read the preconditions: a version, 0 for "not there", None for "whatever"."""
    if_match = request.headers.getlist("if-match")
    if_none_match = request.headers.getlist("if-none-match")
    if len(if_match) + len(if_none_match) > 1:
        raise errors.PreconditionInvalid()
    if if_none_match:
        if if_none_match[0].strip() != "*":
            raise errors.PreconditionInvalid()
        return 0
    return _matched(if_match[0].strip(), store, table, key) if if_match else None


def _matched(tag: str, store: LmdbActor, table: str, key: str) -> int:
    if tag == "*":
        entry = store.get(table, key)
        if entry is None:
            raise errors.PreconditionFailed()
        return int(entry.version)
    found = VERSION_TAG.fullmatch(tag)
    if found is None:
        raise errors.PreconditionInvalid()
    return int(found[1])


@router.get(
    "/{table}/{key:path}",
    summary="Read a value",
    response_class=Response,
    responses=merged(
        {
            200: {"description": "The value", "content": {"application/octet-stream": {}}},
            304: {"description": "Still the version in If-None-Match"},
        },
        KNOWN_PROBLEMS,
    ),
)
async def get_value(
    request: Request, table: str, key: Key, kind: Readable, store: Store
) -> Response:
    """Answers the bytes as they were put; the ETag is their version."""
    entry = store.get(table, key)
    if entry is None:
        raise errors.KeyNotFound()
    headers = {"ETag": f'"{entry.version}"'}
    if entry.expires_at is not None:
        headers["X-Expires-At"] = moment_text(entry.expires_at)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(entry.value, media_type=kind.media_type, headers=headers)


@router.put(
    "/{table}/{key:path}",
    summary="Write a value",
    responses=WRITE_PROBLEMS,
    openapi_extra={
        "parameters": PRECONDITIONS,
        "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
    },
)
async def put_value(
    *,
    request: Request,
    table: str,
    key: Key,
    _kind: Writable,
    store: Store,
    response: Response,
    ttl_s: Ttl = None,
) -> Stored:
    """Answers when the value is on disk; the version grows with every write."""
    value = await request.body()
    if_version = expected_version(request, store, table, key)
    version = await store.put(table, key, value, if_version=if_version, ttl_s=ttl_s)
    response.headers["ETag"] = f'"{version}"'
    return Stored(version=str(version))


@router.delete(
    "/{table}/{key:path}",
    summary="Delete a value",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=WRITE_PROBLEMS,
    openapi_extra={"parameters": PRECONDITIONS},
)
async def delete_value(
    request: Request, table: str, key: Key, _kind: Writable, store: Store
) -> None:
    """Answers when it is gone from the disk."""
    if_version = expected_version(request, store, table, key)
    if not await store.delete(table, key, if_version=if_version):
        raise errors.KeyNotFound()
