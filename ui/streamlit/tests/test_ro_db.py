"""The reads of the pages on a real database: whose rows, how long kept, what is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import psycopg
import pytest
import sp_world
from fixtures_postgres import Database, make_account, make_instrument, make_user, set_price
from gate.vault import Pass, get_vault
from gate_world import ApiStandIn, Login, serving
from services import database as reads
from services import db_tokens, ro_db
from services.models import Order, User

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
# So many that the newest are read from the end of all orders.
CROWD = tuple(range(10**6, 10**6 + ro_db.MANY_ACCOUNTS + 1))
FILL = """
INSERT INTO app.executions (
    order_id, account_id, instrument_id, source, exec_base, side, quantity, price, currency,
    executed_at
)
SELECT o.order_id, o.account_id, o.instrument_id, 'test', 'x', o.side, 1, 100, 'USD', now()
FROM app.orders AS o WHERE o.account_id = $1
"""
QUESTIONS: dict[str, Callable[[User, tuple[int, ...]], Any]] = {
    "accounts": lambda user, ids: ro_db.accounts(user),
    "account_summary": ro_db.account_summary,
    "positions": ro_db.positions,
    "orders": ro_db.orders,
    "open_orders": ro_db.open_orders,
    "executions": ro_db.executions,
    "equity": lambda user, ids: ro_db.equity(user, ids, START, END),
    "daily_pnl": lambda user, ids: ro_db.daily_pnl(user, ids, date(2026, 1, 1), date(2099, 1, 1)),
}


@dataclass
class Desk:
    """Two users with an account each, an API that signs tokens, and the orders of both."""

    database: Database
    api: ApiStandIn
    write: asyncpg.Connection
    root: asyncpg.Connection
    alice: User
    bob: User
    alices: int
    bobs: int

    def login_of(self, user: User) -> Login:
        handle = user.session_handle
        return next(it for it in self.api.logins.values() if it.identity.session_handle == handle)

    def connect(self, user: User) -> None:
        """Put the user's pass into the vault, as the gate does at the handshake."""
        login = self.login_of(user)
        get_vault().put(Pass(login.identity, "", login.expires_at, login.token))

    async def place(self, user: User, account_id: int) -> str:
        request = sp_world.Request(user.user_id, account_id)
        return str((await sp_world.place(self.write, request))["client_order_id"])

    def tokens_asked(self) -> int:
        return sum(it.url.path == "/api/session/db-token" for it in self.api.asked)


@pytest.fixture
async def desk(database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    migrate = await database.connect("app_migrate")
    await make_instrument(migrate, "AAPL")
    root = await database.connect("postgres")
    write = await database.connect("app_write")
    await set_price(write, "AAPL", "100")
    api = ApiStandIn()
    api.db_token_key = (database.cluster.secrets_dir / "db_token_key").read_text()
    users = []
    for _ in range(2):
        login = api.login(user_id=str(await make_user(migrate)))
        identity = login.identity
        users.append(User(identity.user_id, identity.role, identity.session_handle))
    accounts = [await make_account(migrate, {user.user_id: True}) for user in users]
    async with serving(api.app) as port:
        environ = {
            "APP_ENV": "test",
            "API_URL": f"http://127.0.0.1:{port}",
            "DATABASE_HOST": database.host,
            "DATABASE_PORT": str(database.port_for("app_read")),
            "DATABASE_NAME": database.name,
            "SECRETS_DIR": str(database.cluster.secrets_dir),
        }
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        desk = Desk(database, api, write, root, *users, *accounts)
        for user, account_id in zip(users, accounts, strict=True):
            desk.connect(user)
            await desk.place(user, account_id)
        yield desk


async def ask(question: str, user: User, *account_ids: int) -> Any:
    return await asyncio.to_thread(QUESTIONS[question], user, account_ids)


def owners(rows: list[Any]) -> set[int]:
    return {row.account_id for row in rows}


@pytest.mark.parametrize("question", ["accounts", "account_summary", "orders", "open_orders"])
async def test_two_users_never_see_each_others_rows(desk: Desk, question: str) -> None:
    both = (desk.alices, desk.bobs)
    # Twice and in turns, so that the caches answer too.
    for _ in range(2):
        assert owners(await ask(question, desk.alice, *both)) == {desk.alices}
        assert owners(await ask(question, desk.bob, *both)) == {desk.bobs}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_among_very_many_accounts_a_user_sees_his_own(desk: Desk, question: str) -> None:
    both = (desk.alices, desk.bobs, *CROWD)
    for user, account_id in ((desk.alice, desk.alices), (desk.bob, desk.bobs)):
        rows = await ask(question, user, *both)
        assert {getattr(row, "account_id", account_id) for row in rows} <= {account_id}


@pytest.mark.parametrize("question", QUESTIONS)
async def test_naming_anothers_account_shows_nothing(desk: Desk, question: str) -> None:
    for _ in range(2):
        theirs = await ask(question, desk.bob, desk.alices)
        assert desk.alices not in {getattr(row, "account_id", None) for row in theirs}
        if question not in ("accounts", "equity", "daily_pnl"):
            assert theirs == []


async def test_every_question_has_rows_of_its_dataclass(desk: Desk) -> None:
    for question in QUESTIONS:
        assert isinstance(await ask(question, desk.alice, desk.alices), list)
    (order,) = await ask("orders", desk.alice, desk.alices)
    assert isinstance(order, Order)
    assert (order.status, order.open) == ("new", True)
    assert isinstance(order.quantity, Decimal)
    assert order.created_at.utcoffset() == timedelta(0)
    health = await asyncio.to_thread(ro_db.health, desk.alice, (desk.alices,))
    assert health.price_source == "replay"
    assert abs(health.read_at - datetime.now(UTC)) < timedelta(minutes=1)
    (instrument,) = await asyncio.to_thread(ro_db.instruments, desk.alice)
    assert instrument.last_price == Decimal(100)
    steps = await asyncio.to_thread(ro_db.timeline, desk.alice, order.order_id)
    assert steps
    assert await asyncio.to_thread(ro_db.timeline, desk.bob, order.order_id) == []
    assert await asyncio.to_thread(ro_db.bars, desk.alice, "AAPL", START, END) == []


@pytest.mark.parametrize("crowd", [(), CROWD])
@pytest.mark.parametrize(
    ("status_filter", "count"), [("all", 1), ("open", 1), ("filled", 0), ("refused", 0)]
)
async def test_orders_are_chosen_by_their_state(
    desk: Desk, status_filter: str, count: int, crowd: tuple[int, ...]
) -> None:
    accounts = (desk.alices, *crowd)
    found = await asyncio.to_thread(ro_db.orders, desk.alice, accounts, status_filter)
    assert len(found) == count


async def test_of_very_many_accounts_the_newest_orders_come_first(desk: Desk) -> None:
    keys = [await desk.place(desk.alice, desk.alices) for _ in range(3)]
    arguments = (desk.alice, (desk.alices, *CROWD), "all", 2)
    found = await asyncio.to_thread(ro_db.orders, *arguments)
    assert [order.client_order_id for order in found] == keys[:0:-1]


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [(None, None, 1), (-1, None, 1), (None, 1, 1), (-1, 1, 1), (1, None, 0), (None, -1, 0)],
)
async def test_a_span_of_executions_may_be_open_at_either_end(
    desk: Desk, before: int | None, after: int | None, count: int
) -> None:
    await desk.root.execute(FILL, desk.alices)
    now = datetime.now(UTC)
    ends = [None if hours is None else now + timedelta(hours=hours) for hours in (before, after)]
    arguments = (desk.alice, (desk.alices,), 200, *ends)
    assert len(await asyncio.to_thread(ro_db.executions, *arguments)) == count


async def test_an_order_is_found_by_its_id_at_once(desk: Desk) -> None:
    for _ in range(2):
        key = await desk.place(desk.alice, desk.alices)
        arguments = (desk.alice, (desk.alices,), key)
        found = await asyncio.to_thread(ro_db.order_by_client_id, *arguments)
        assert found is not None
        assert found.client_order_id == key
    mine = (desk.bob, (desk.alices, desk.bobs), key)
    assert await asyncio.to_thread(ro_db.order_by_client_id, *mine) is None


async def test_the_limit_counts_and_has_a_limit(desk: Desk) -> None:
    await desk.place(desk.alice, desk.alices)
    for wanted, count in ((1, 1), (-5, 1), (10**9, 2)):
        arguments = (desk.alice, (desk.alices,), "all", wanted)
        assert len(await asyncio.to_thread(ro_db.orders, *arguments)) == count


async def test_answers_are_kept_for_a_moment_and_cannot_be_changed_for_others(
    desk: Desk,
) -> None:
    first = await ask("accounts", desk.alice)
    first.clear()
    asked = desk.tokens_asked()
    assert len(await ask("accounts", desk.alice)) == 1
    assert desk.tokens_asked() == asked == 1


async def test_another_role_does_not_get_what_was_kept(desk: Desk) -> None:
    await ask("orders", desk.alice, desk.alices)
    forged = User(desk.alice.user_id, "admin", desk.alice.session_handle)
    with pytest.raises(ro_db.NotSignedIn):
        await ask("orders", forged, desk.alices)


async def test_a_user_nobody_vouches_for_reads_nothing_not_even_what_is_kept(desk: Desk) -> None:
    await ask("orders", desk.alice, desk.alices)
    stranger = User(desk.alice.user_id, "trader", str(uuid4()))
    with pytest.raises(ro_db.NotSignedIn):
        await ask("orders", stranger, desk.alices)
    get_vault().forget(desk.alice.session_handle)
    with pytest.raises(ro_db.NotSignedIn):
        await ask("orders", desk.alice, desk.alices)


async def test_a_session_that_the_api_calls_over_reads_nothing(desk: Desk) -> None:
    desk.login_of(desk.alice).active = False
    with pytest.raises(ro_db.NotSignedIn):
        await ask("orders", desk.alice, desk.alices)


async def test_one_token_serves_many_reads_until_a_minute_before_its_end(desk: Desk) -> None:
    for question in ("orders", "positions", "account_summary"):
        await ask(question, desk.alice, desk.alices)
    assert desk.tokens_asked() == 1
    held = db_tokens._held[desk.alice.session_handle]
    in_four_minutes = datetime.now(UTC) + timedelta(minutes=4)
    assert abs(held.good_until - in_four_minutes) < timedelta(seconds=10)


async def test_a_token_the_database_no_longer_believes_is_renewed(desk: Desk) -> None:
    desk.api.db_token_valid_s = -1.0
    stale = await asyncio.to_thread(db_tokens.token_for, desk.alice)
    later = datetime.now(UTC) + timedelta(minutes=1)
    db_tokens._held[desk.alice.session_handle] = db_tokens._Held(stale, later)
    desk.api.db_token_valid_s = 300.0
    assert len(await ask("orders", desk.alice, desk.alices)) == 1
    assert desk.tokens_asked() == 2


async def test_a_token_the_database_does_not_believe_is_an_error_never_an_empty_page(
    desk: Desk,
) -> None:
    desk.api.db_token_key = "another key than the database's"
    with pytest.raises(ro_db.DatabaseDown):
        await ask("orders", desk.alice, desk.alices)


async def test_without_a_token_there_is_no_read(desk: Desk) -> None:
    desk.api.down = True
    with pytest.raises(ro_db.DatabaseDown):
        await ask("orders", desk.alice, desk.alices)
    desk.api.down = False
    assert len(await ask("orders", desk.alice, desk.alices)) == 1


async def test_the_transaction_is_read_only_and_its_user_ends_with_it(desk: Desk) -> None:
    def look() -> tuple[str, str, str]:
        with reads._transaction(desk.alice, "token") as connection:
            inside = connection.execute("SHOW transaction_read_only").fetchone()
            time_out = connection.execute("SHOW statement_timeout").fetchone()
        with reads._pool().connection() as connection:
            after = connection.execute("SELECT current_setting('app.user_token', TRUE)").fetchone()
        return (inside or ("",))[0], (time_out or ("",))[0], (after or ("",))[0]

    assert await asyncio.to_thread(look) == ("on", "3s", "")

    def write() -> None:
        with reads._transaction(desk.alice, "token") as connection:
            connection.execute("CREATE TEMPORARY TABLE t (x integer)")

    with pytest.raises(psycopg.Error, match="read-only"):
        await asyncio.to_thread(write)


async def test_a_slow_read_is_cut_off(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "STATEMENT_TIMEOUT_MS", 200)
    query = "SELECT %s::text AS kind, pg_catalog.pg_sleep(30)"
    with pytest.raises(ro_db.DatabaseDown):
        await asyncio.to_thread(reads.rows, desk.alice, Order, query, ["x"])
    monkeypatch.undo()


async def test_a_database_that_is_away_says_so_soon_and_is_read_again_when_it_is_back(
    desk: Desk,
) -> None:
    assert len(await ask("orders", desk.alice, desk.alices)) == 1
    await desk.root.execute("ALTER ROLE app_read NOLOGIN")
    try:
        await desk.root.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app_read'"
        )
        started = asyncio.get_running_loop().time()
        for question in ("positions", "account_summary", "accounts"):
            with pytest.raises(ro_db.DatabaseDown):
                await ask(question, desk.alice, desk.alices)
        # The first one waits, the others know.
        assert asyncio.get_running_loop().time() - started < 2 * reads.ACQUIRE_TIMEOUT_S
    finally:
        await desk.root.execute("ALTER ROLE app_read LOGIN")
    async with asyncio.timeout(20):
        while True:
            try:
                assert await ask("accounts", desk.alice)
            except ro_db.DatabaseDown:
                await asyncio.sleep(0.05)
            else:
                break


async def test_many_readers_at_once_all_get_their_own_rows(desk: Desk) -> None:
    async def mine(user: User, account_id: int) -> None:
        for _ in range(5):
            ro_db._cache.clear()
            assert owners(await ask("orders", user, desk.alices, desk.bobs)) == {account_id}

    pairs = [(desk.alice, desk.alices), (desk.bob, desk.bobs)] * 8
    await asyncio.gather(*(mine(*pair) for pair in pairs))
