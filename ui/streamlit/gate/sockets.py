"""The open websockets: which session each belongs to, and how one is ended from our side."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from enum import Enum
from typing import Any
from urllib.parse import quote, urlsplit

from gate.identity import Identity
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from services.logs import get_logger
from starlette.types import Message, Receive, Send
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

log = get_logger(__name__)

SIGN_IN_PATH = "/auth/login"
SOCKETS_MAX = 500
SOCKETS_PER_USER_MAX = 40
# A reader who does not read must not keep his socket open.
CLOSE_TIMEOUT_S = 1.0
ADDRESS_LENGTH_MAX = 2000


class End(Enum):
    """Why we end a socket: close code, and what the log says."""

    REVOKED = (4401, "session_over")
    EXPIRED = (4401, "token_expired")
    # Not a verdict on the session, so the browser may try again.
    UNCONFIRMED = (1013, "session_unconfirmed")

    @property
    def code(self) -> int:
        """The close code of the websocket."""
        return self.value[0]

    @property
    def reason(self) -> str:
        """One word for the log and the close frame."""
        return self.value[1]


class TooManySockets(Exception):
    """This process, or this user, has as many websockets as it may."""


class Socket:
    """One websocket between uvicorn and Streamlit."""

    def __init__(self, identity: Identity, receive: Receive, send: Send) -> None:
        self.identity = identity
        self._receive = receive
        self._send = send
        self._ended: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._parted = False
        self._address = "/"

    def end(self, why: End) -> None:
        """Close this socket now; what the page still wants to send is dropped."""
        if not self._ended.done():
            self._ended.set_result(why)

    async def receive(self) -> Message:
        """Hand on what the browser sends, until one of the two sides ends it."""
        if not self._ended.done():
            message = await self._until_either()
            if message is not None:
                return message
        await self.part()
        return {"type": "websocket.disconnect", "code": self._ended.result().code}

    async def _until_either(self) -> Message | None:
        arriving = asyncio.ensure_future(self._receive())
        either: set[asyncio.Future[Any]] = {arriving, self._ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                message = arriving.result()
                self._note_address(message)
                return message
        finally:
            # Also when Streamlit gives up waiting.
            arriving.cancel()
        return None

    async def send(self, message: Message) -> None:
        """Hand on what the page sends; after the end nothing leaves any more."""
        if self._ended.done():
            # Starlette takes it for a lost connection.
            raise OSError("the socket was ended")
        await self._send(message)

    async def part(self) -> None:
        """Lead the browser away from a socket that we ended; once, whoever notices the end first.

        Streamlit may be about to send, and not wait for what comes in, when a socket is ended. A
        browser that only lost its connection would try again for ever, the figures on its screen.
        """
        if self._parted or not self._ended.done():
            return
        why = self._ended.result()
        log.info(
            "socket_ended",
            extra={"reason": why.reason, "session_handle": self.identity.session_handle},
        )
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if why is not End.UNCONFIRMED:
                    # The browser leaves the page at once: no stale figure stays on the screen.
                    await self._send({"type": "websocket.send", "bytes": self._farewell()})
                await self._send(
                    {"type": "websocket.close", "code": why.code, "reason": why.reason}
                )
        except (OSError, RuntimeError, TimeoutError):
            log.info("socket_lost", extra={"session_handle": self.identity.session_handle})
        self._parted = True

    def _farewell(self) -> bytes:
        leave = ForwardMsg()
        leave.auth_redirect.url = sign_in_address(self._address)
        farewell: bytes = leave.SerializeToString()
        return farewell

    def _note_address(self, message: Message) -> None:
        """Remember where the browser is, so that signing in leads back there."""
        try:
            said = BackMsg.FromString(message.get("bytes") or b"")
        except DecodeError:
            return
        run = said.rerun_script
        if run.context_info.url:
            page = run.context_info.url.partition("?")[0]
            self._address = f"{page}?{run.query_string}" if run.query_string else page


def sign_in_address(address: str) -> str:
    """Return the sign-in page's address that leads back to a page of ours."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return f"{SIGN_IN_PATH}?next=%2F"
    path = f"/{parts.path.lstrip('/')}"
    back = f"{path}?{parts.query}" if parts.query else path
    return f"{SIGN_IN_PATH}?next={quote(back if len(back) <= ADDRESS_LENGTH_MAX else '/', safe='')}"


class Sockets:
    """All open websockets of this process, bounded."""

    def __init__(
        self, total_max: int = SOCKETS_MAX, per_user_max: int = SOCKETS_PER_USER_MAX
    ) -> None:
        self._total_max = total_max
        self._per_user_max = per_user_max
        self._open: set[Socket] = set()
        self._per_user: Counter[str] = Counter()
        self._per_handle: Counter[str] = Counter()

    def add(self, socket: Socket) -> None:
        """Count a socket in, or refuse it."""
        user_id = socket.identity.user_id
        if len(self._open) >= self._total_max or self._per_user[user_id] >= self._per_user_max:
            raise TooManySockets()
        self._open.add(socket)
        self._per_user[user_id] += 1
        self._per_handle[socket.identity.session_handle] += 1

    def remove(self, socket: Socket) -> None:
        """Count a socket out."""
        if socket not in self._open:
            return
        self._open.remove(socket)
        _count_down(self._per_user, socket.identity.user_id)
        _count_down(self._per_handle, socket.identity.session_handle)

    def connected(self, handle: str) -> bool:
        """Say whether a session has any socket open."""
        return handle in self._per_handle

    def __iter__(self) -> Iterator[Socket]:
        """Go through the sockets as they are now."""
        return iter(tuple(self._open))


def _count_down(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
