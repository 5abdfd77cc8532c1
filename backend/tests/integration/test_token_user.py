"""The signed token: believed when whole and current, nobody otherwise."""

import hmac
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import psycopg
import pytest
from fixtures_postgres import Database
from read_tokens import sign
from sp_calls import audited

from app.core.token_keys import key_id_of
from app.services.database_setup import hmac_blocks, load_token_key, retire_token_keys

# RFC 4231, test cases 1, 2, 3, 4, 6 and 7: key, data, HMAC-SHA-256.
VECTORS = [
    (
        "0b" * 20,
        b"Hi There".hex(),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
    (
        b"Jefe".hex(),
        b"what do ya want for nothing?".hex(),
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    ("aa" * 20, "dd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)).hex(),
        "cd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (
        "aa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First".hex(),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        "aa" * 131,
        (
            b"This is a test using a larger than block-size key and a larger than block-size data."
            b" The key needs to be hashed before being used by the HMAC algorithm."
        ).hex(),
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
]
USER = UUID("0f0e0d0c-0b0a-4908-8706-050403020100")


@pytest.fixture
async def owner(database: Database) -> asyncpg.Connection:
    """A connection that may call the routines by name, and the user of the tokens."""
    connection = await database.connect("postgres")
    query = "SELECT app.sp_user_upsert('system:test', $1, 'x@test.informania.dev', 'trader', FALSE)"
    await connection.execute(query, USER)
    return connection


@pytest.fixture
def key(database: Database) -> str:
    """The key that this installation signs with."""
    return database.settings.secret("db_token_key")


async def believed(connection: asyncpg.Connection, token: str) -> UUID | None:
    """Return whom the database takes the bearer of a token for."""
    await connection.execute("SELECT set_config('app.user_token', $1, FALSE)", token)
    user_id: UUID | None = await connection.fetchval("SELECT security.token_user()")
    return user_id


@pytest.mark.parametrize(("key_hex", "data_hex", "expected"), VECTORS)
async def test_the_hmac_is_that_of_rfc_4231(
    owner: asyncpg.Connection, key_hex: str, data_hex: str, expected: str
) -> None:
    inner, outer = hmac_blocks(bytes.fromhex(key_hex))
    query = "SELECT security.hmac_sha256($1, $2, $3)"
    found = await owner.fetchval(query, inner, outer, bytes.fromhex(data_hex))
    assert found.hex() == expected


async def test_a_signed_token_names_its_user(owner: asyncpg.Connection, key: str) -> None:
    assert await believed(owner, sign(key, USER)) == USER


async def test_without_a_token_there_is_nobody(owner: asyncpg.Connection) -> None:
    assert await owner.fetchval("SELECT security.token_user()") is None
    assert await believed(owner, "") is None


async def test_an_expired_token_is_nobody(owner: asyncpg.Connection, key: str) -> None:
    assert await believed(owner, sign(key, USER, valid_s=-2)) is None


async def test_a_token_expires_while_a_transaction_lasts(
    owner: asyncpg.Connection, key: str
) -> None:
    token = sign(key, USER, valid_s=2)
    async with owner.transaction():
        assert await believed(owner, token) == USER
        expired_at = datetime.now(UTC) + timedelta(seconds=3)
        await owner.execute("SELECT pg_sleep_until($1)", expired_at)
        assert await owner.fetchval("SELECT security.token_user()") is None


async def test_a_token_of_another_key_is_nobody(owner: asyncpg.Connection, key: str) -> None:
    assert await believed(owner, sign(f"{key}x", USER)) is None
    assert await believed(owner, sign(key, USER, key_id="k2")) is None


async def test_who_is_unknown_or_disabled_is_nobody(owner: asyncpg.Connection, key: str) -> None:
    assert await believed(owner, sign(key, uuid4())) is None
    await owner.execute("UPDATE app.users SET disabled = TRUE WHERE user_id = $1", USER)
    assert await believed(owner, sign(key, USER)) is None


@pytest.mark.parametrize("part", [0, 1, 2, 3])
async def test_a_token_with_one_part_exchanged_is_nobody(
    owner: asyncpg.Connection, key: str, part: int
) -> None:
    parts = sign(key, USER).split(".")
    parts[part] = ["k2", str(uuid4()), str(int(time.time()) + 9999), "0" * 64][part]
    assert await believed(owner, ".".join(parts)) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: f"{t}0",
        lambda t: f"{t}.k1",
        lambda t: t.upper(),
        lambda t: f" {t}",
        lambda t: f"{t}\n",
        lambda t: t.replace(".", "..", 1),
        lambda _: "k1.",
        lambda _: "....",
        lambda _: "k1.not-a-uuid.99999999999.zz",
        lambda t: t * 50,
        lambda t: t.replace(".", ".1", 2),
        lambda _: "'; DROP TABLE app.orders; --",
    ],
)
async def test_a_malformed_token_is_nobody_and_no_error(
    owner: asyncpg.Connection, key: str, change: Callable[[str], str]
) -> None:
    assert await believed(owner, change(sign(key, USER))) is None


@pytest.mark.parametrize(
    ("user", "expiry"),
    [
        ("not-a-uuid", "99999999999"),
        (USER.hex, "99999999999"),
        (f"{{{USER}}}", "99999999999"),
        (str(USER).upper(), "99999999999"),
        (str(USER), ""),
        (str(USER), "-1"),
        (str(USER), "1e10"),
        (str(USER), "999999999999"),
        (str(USER), " 9999999999"),
    ],
)
async def test_what_is_signed_in_another_form_is_nobody_and_no_error(
    owner: asyncpg.Connection, key: str, user: str, expiry: str
) -> None:
    signed = f"k1.{user}.{expiry}"
    signature = hmac.digest(key.encode(), signed.encode(), "sha256").hex()
    assert await believed(owner, f"{signed}.{signature}") is None


async def test_an_old_key_is_believed_until_it_is_retired(
    owner: asyncpg.Connection, database: Database, key: str, tmp_path: Path
) -> None:
    (tmp_path / "app_migrate_password").write_text(database.settings.secret("app_migrate_password"))
    (tmp_path / "db_token_key").write_text("another key")
    rotated = database.settings.model_copy(update={"secrets_dir": tmp_path})
    with pytest.raises(psycopg.Error, match="migrate first"):
        retire_token_keys(rotated)
    for _ in range(2):
        load_token_key(rotated)
    for one in (key, "another key"):
        assert await believed(owner, sign(one, USER)) == USER
    # Neither key signs in the name of the other.
    assert await believed(owner, sign(key, USER, key_id=key_id_of("another key"))) is None

    for _ in range(2):
        retire_token_keys(rotated)

    assert await believed(owner, sign(key, USER)) is None
    assert await believed(owner, sign("another key", USER)) == USER
    actions = [action for action in await audited(database, 0) if action.startswith("token_key")]
    assert actions == ["token_key.set", "token_key.set", "token_key.retire"]
    details = await owner.fetch("SELECT detail::text FROM audit.audit_log WHERE stream_id = 0")
    inner, _ = hmac_blocks(b"another key")
    assert not any(inner.hex() in row[0] or "another key" in row[0] for row in details)
