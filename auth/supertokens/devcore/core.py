"""What every call may use, and the register of the calls."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from devcore.keys import KeyRing
from devcore.settings import Settings
from devcore.store import Store
from devcore.tokens import Tokens, unprotected
from devcore.wire import Answer, Call

WAITING_MAX = 32


class Busy(Exception):
    """More passwords wait to be hashed than we let wait."""


class Passwords:
    """argon2id on few threads; an unknown user costs as much time as a wrong password."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
        self._places = asyncio.Semaphore(WAITING_MAX)
        self._nobody = self._hasher.hash(os.urandom(16))

    async def hash(self, password: str) -> str:
        return str(await self._run(self._hasher.hash, password))

    async def matches(self, stored: str | None, password: str) -> bool:
        return await self._run(self._verify, stored or self._nobody, password) and bool(stored)

    async def _run(self, work: Any, *values: str) -> Any:
        if self._places.locked():
            raise Busy()
        async with self._places:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *values)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except VerificationError:
            return False


@dataclass(frozen=True)
class Core:
    settings: Settings
    store: Store
    keys: KeyRing
    tokens: Tokens
    passwords: Passwords


Handler = Callable[[Core, Call], Awaitable[Answer]]
HANDLERS: dict[tuple[str, str], Handler] = {}
# The calls that are one function of calls.sql, with the fields that are its arguments.
IN_SQL = {
    ("GET", "/user/id"): "user_by_id userId",
    ("GET", "/users/by-accountinfo"): "users_by_email email?",
    ("GET", "/users/count"): "users_count",
    ("POST", "/user/remove"): "user_remove userId",
    ("GET", "/recipe/user/metadata"): "metadata_get userId",
    ("PUT", "/recipe/user/metadata"): "metadata_put userId metadataUpdate",
    ("PUT", "/recipe/role"): "role_put role permissions",
    ("POST", "/recipe/role/remove"): "role_remove role",
    ("GET", "/recipe/roles"): "roles_all",
    ("GET", "/recipe/role/permissions"): "role_permissions_of role",
    ("POST", "/recipe/role/permissions/remove"): "role_permissions_remove role permissions",
    ("GET", "/recipe/permission/roles"): "roles_with permission",
    ("GET", "/recipe/role/users"): "role_users role",
    ("GET", "/recipe/user/roles"): "user_roles_of userId",
    ("PUT", "/recipe/user/role"): "user_role_give userId role",
    ("POST", "/recipe/user/role/remove"): "user_role_take userId role",
    ("GET", "/recipe/session"): "session_get sessionHandle",
    ("GET", "/recipe/session/user"): "sessions_of userId",
    ("POST", "/recipe/session/remove"): "sessions_remove userId? sessionHandles?",
    ("PUT", "/recipe/session/data"): "session_put sessionHandle userDataInDatabase userDataInJWT?",
    ("PUT", "/recipe/jwt/data"): "session_put sessionHandle userDataInDatabase? userDataInJWT",
}
LISTS = ("permissions", "sessionHandles")
OBJECTS = ("metadataUpdate", "userDataInDatabase", "userDataInJWT")


def handles(method: str, path: str) -> Callable[[Handler], Handler]:
    """Register the function that answers one call."""
    return lambda handler: HANDLERS.setdefault((method, path), handler)


def _in_sql(function: str, *fields: str) -> Handler:
    places = ", ".join(f"${number}" for number in range(1, len(fields) + 1))

    async def call_it(core: Core, call: Call) -> Answer:
        values = [_value(call, field) for field in fields]
        sql = f"SELECT auth_dev.{function}({places}) AS answer"
        answer: Answer = (await core.store.row(sql, *values))["answer"]
        return answer

    return call_it


def _value(call: Call, field: str) -> Any:
    name = field.rstrip("?")
    if name != field and not call.has(name):
        return None
    if name == "userDataInJWT":
        unprotected(call.mapping(name))
    read = call.texts if name in LISTS else call.mapping if name in OBJECTS else call.text
    return read(name)


HANDLERS.update({key: _in_sql(*text.split()) for key, text in IN_SQL.items()})
