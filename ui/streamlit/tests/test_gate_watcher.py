"""The watcher: whose socket is ended, how soon, and what the browser hears of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from gate.identity import Identity
from gate.sockets import End, Socket, sign_in_address
from gate.watcher import CHECK_INTERVAL_S, UNCONFIRMED_MAX_S
from gate_world import Login, World, gate_world, seen_by_the_page, until
from starlette.responses import JSONResponse
from starlette.types import Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with gate_world() as opened:
        yield opened


async def all_until_the_close(connection: ClientConnection) -> tuple[list[bytes], int | None]:
    """Everything that still arrives, and the code with which the server closes."""
    arrived: list[bytes] = []
    async with asyncio.timeout(10):
        try:
            while True:
                arrived.append(bytes(await connection.recv(decode=False)))
        except ConnectionClosed as closed:
            return arrived, closed.rcvd.code if closed.rcvd else None


def revoke(world: World, login: Login) -> None:
    login.active = False


def change_role(world: World, login: Login) -> None:
    login.role_now = "viewer"


def forget(world: World, login: Login) -> None:
    world.api.logins.clear()


@pytest.mark.parametrize("change", [revoke, change_role, forget])
async def test_a_session_that_is_over_loses_its_socket_and_is_led_to_the_sign_in_page(
    world: World, change: Callable[[World, Login], None]
) -> None:
    login, other = world.api.login(), world.api.login()
    async with (
        world.connect(world.headers(login)) as ended,
        world.connect(world.headers(other)) as kept,
    ):
        await seen_by_the_page(ended)
        await seen_by_the_page(kept)
        change(world, login)
        if change is forget:
            world.api.logins[other.token] = other
        await world.watcher.check_once()
        arrived, code = await all_until_the_close(ended)
        assert code == 4401
        assert [ForwardMsg.FromString(said).auth_redirect.url for said in arrived] == [
            "/auth/login?next=%2F"
        ]
        assert world.vault.get(login.identity.session_handle) is None
        await kept.send(b"still there")
        assert await kept.recv() == b"still there"


async def test_the_way_back_leads_to_where_the_browser_was(world: World) -> None:
    login = world.api.login()
    async with world.connect(world.headers(login)) as connection:
        await seen_by_the_page(connection)
        said = BackMsg()
        said.rerun_script.context_info.url = "http://screen.test/Trades"
        said.rerun_script.query_string = "account=2&x=a b"
        for frame in (said.SerializeToString(), b"\xff not a message of Streamlit"):
            await connection.send(frame)
            await connection.recv()
        login.active = False
        await world.watcher.check_once()
        arrived, _ = await all_until_the_close(connection)
    address = ForwardMsg.FromString(arrived[0]).auth_redirect.url
    assert address == "/auth/login?next=%2FTrades%3Faccount%3D2%26x%3Da%20b"


async def test_a_silent_api_closes_every_socket_after_ten_seconds_and_not_before(
    world: World,
) -> None:
    login = world.api.login()
    async with world.connect(world.headers(login)) as connection:
        await seen_by_the_page(connection)
        world.api.down = True
        world.clock.now += UNCONFIRMED_MAX_S - 1
        await world.watcher.check_once()
        await connection.send(b"still there")
        assert await connection.recv() == b"still there"
        world.clock.now += 2
        await world.watcher.check_once()
        # Not a verdict: the browser stays where it is and tries again.
        assert await all_until_the_close(connection) == ([], 1013)
    assert len(world.vault) == 0


async def test_an_answer_nobody_can_read_confirms_nothing(world: World) -> None:
    login = world.api.login()
    async with world.connect(world.headers(login)) as connection:
        await seen_by_the_page(connection)
        world.api.answers["/api/internal/sessions/check"] = JSONResponse({"sessions": "all fine"})
        world.clock.now += UNCONFIRMED_MAX_S + 1
        await world.watcher.check_once()
        assert (await all_until_the_close(connection))[1] == 1013


async def test_a_socket_closes_when_its_token_ends() -> None:
    moment = [datetime.now(UTC)]
    async with gate_world(now=lambda: moment[0]) as world:
        login = world.api.login(expires_at=moment[0] + timedelta(minutes=5))
        async with world.connect(world.headers(login)) as connection:
            await seen_by_the_page(connection)
            await world.watcher.check_once()
            assert world.vault.get(login.identity.session_handle) is not None
            moment[0] += timedelta(minutes=5)
            await world.watcher.check_once()
            assert (await all_until_the_close(connection))[1] == 4401


async def test_the_watcher_asks_by_itself_and_survives_its_own_faults(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = world.api.login()
    loop = asyncio.get_running_loop()
    faults: list[str] = []
    whole = world.watcher._apply

    def faulty(states: object) -> None:
        if not faults:
            faults.append("a fault of ours")
            raise RuntimeError(faults[0])
        whole(states)  # type: ignore[arg-type]

    monkeypatch.setattr(world.watcher, "_clock", loop.time)
    monkeypatch.setattr(world.watcher, "_apply", faulty)
    async with world.connect(world.headers(login)) as connection:
        await seen_by_the_page(connection)
        running = asyncio.create_task(world.watcher.run())
        try:
            await until(lambda: bool(faults))
            login.active = False
            started = loop.time()
            assert (await all_until_the_close(connection))[1] == 4401
            assert loop.time() - started < CHECK_INTERVAL_S + 1
            assert not running.done()
        finally:
            running.cancel()


async def test_a_browser_is_led_away_though_the_page_was_about_to_send() -> None:
    async def drawing(scope: Scope, receive: Receive, send: Send) -> None:
        # As Streamlit ends: a send that fails ends the page, which waits for nothing any more.
        await receive()
        await send({"type": "websocket.accept", "subprotocol": "streamlit"})
        with suppress(OSError):
            while True:
                await send({"type": "websocket.send", "bytes": b"{}"})
                await asyncio.sleep(0)

    async with gate_world(app=drawing) as world:
        login = world.api.login()
        async with world.connect(world.headers(login)) as connection:
            await seen_by_the_page(connection)
            revoke(world, login)
            await world.watcher.check_once()
            arrived, code = await all_until_the_close(connection)
    assert code == End.REVOKED.code
    assert ForwardMsg.FromString(arrived[-1]).auth_redirect.url == "/auth/login?next=%2F"


async def test_a_socket_that_was_ended_between_two_messages_says_good_bye_once() -> None:
    sent: list[Message] = []

    async def nothing_comes() -> Message:
        raise AssertionError

    async def note(message: Message) -> None:
        sent.append(message)

    socket = Socket(Identity("u", "trader", "h"), nothing_comes, note)
    await socket.part()
    assert sent == []
    socket.end(End.REVOKED)
    for _ in range(2):
        assert await socket.receive() == {"type": "websocket.disconnect", "code": 4401}
        await socket.part()
    assert [message["type"] for message in sent] == ["websocket.send", "websocket.close"]


async def test_a_reader_who_does_not_read_is_ended_all_the_same() -> None:
    sent: list[Message] = []

    async def nothing_comes() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def nothing_goes(message: Message) -> None:
        sent.append(message)
        await asyncio.Event().wait()

    socket = Socket(Identity("u", "trader", "h"), nothing_comes, nothing_goes)
    waiting = asyncio.create_task(socket.receive())
    socket.end(End.REVOKED)
    assert await asyncio.wait_for(waiting, 5) == {"type": "websocket.disconnect", "code": 4401}
    with pytest.raises(OSError, match="ended"):
        await socket.send({"type": "websocket.send", "bytes": b"figures"})
    assert b"figures" not in [message.get("bytes") for message in sent]


@pytest.mark.parametrize(
    ("address", "back"),
    [
        ("http://screen.test/", "%2F"),
        ("http://screen.test/Reports?from=2026-01-01", "%2FReports%3Ffrom%3D2026-01-01"),
        ("//evil.test/path", "%2Fpath"),
        ("http://screen.test//evil.test", "%2Fevil.test"),
        ("http://screen.test/\\evil.test", "%2F%5Cevil.test"),
        ("javascript:alert(1)", "%2Falert%281%29"),
        ("http://[", "%2F"),
        ("", "%2F"),
        ("http://screen.test/" + "x" * 5000, "%2F"),
    ],
)
def test_the_way_back_is_always_a_page_of_ours(address: str, back: str) -> None:
    assert sign_in_address(address) == f"/auth/login?next={back}"


async def test_a_closed_browser_is_counted_out(world: World) -> None:
    async with world.connect(world.headers(world.api.login())) as connection:
        await seen_by_the_page(connection)
        assert len(list(world.sockets)) == 1
    await until(lambda: not list(world.sockets))
