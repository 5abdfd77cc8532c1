"""Speaks Streamlit's own protocol over a websocket, as a browser or somebody worse would."""

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

STREAM_PATH = "/_stcore/stream"
RUN_TIMEOUT_S = 30


@dataclass
class Shown:
    """What one run of a page sent."""

    session_id: str = ""
    kinds: list[str] = field(default_factory=list)
    text: str = ""


class Screen:
    """One websocket to the screen."""

    def __init__(
        self,
        base_url: str,
        *,
        origin: str | None,
        headers: dict[str, str] | None = None,
        cookie: str | None = None,
        session_id: str | None = None,
    ) -> None:
        cookies = {"Cookie": cookie} if cookie else {}
        # Where a browser names the session it wants to go on with.
        names = ["streamlit", "no-xsrf-token", *([session_id] if session_id else [])]
        self._opening = connect(
            base_url.replace("http://", "ws://") + STREAM_PATH,
            origin=None if origin is None else Origin(origin),
            additional_headers={**(headers or {}), **cookies},
            subprotocols=[Subprotocol(name) for name in names],
            max_size=None,
            proxy=None,
            open_timeout=10,
        )
        self.connection: ClientConnection

    async def __aenter__(self) -> Self:
        self.connection = await self._opening
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.connection.close()

    async def run(self, page: str = "") -> Shown:
        """Ask for a run of a page and take in all it sends."""
        asked = BackMsg()
        asked.rerun_script.query_string = ""
        asked.rerun_script.page_name = page
        await self.connection.send(asked.SerializeToString())
        shown = Shown()
        async with asyncio.timeout(RUN_TIMEOUT_S):
            while "script_finished" not in shown.kinds:
                frame = await self.connection.recv(decode=False)
                _take_in(shown, ForwardMsg.FromString(bytes(frame)))
        return shown

    async def closed(self, timeout_s: float) -> tuple[int | None, list[Any]]:
        """Wait for the close; return its code and the messages that came before it."""
        messages = []
        async with asyncio.timeout(timeout_s):
            try:
                while True:
                    frame = await self.connection.recv(decode=False)
                    messages.append(ForwardMsg.FromString(bytes(frame)))
            except ConnectionClosed as closed:
                return (closed.rcvd.code if closed.rcvd else None), messages


def _take_in(shown: Shown, message: Any) -> None:
    kind = message.WhichOneof("type")
    shown.kinds.append(kind)
    if kind == "new_session":
        shown.session_id = message.new_session.initialize.session_id
    elif kind == "delta":
        shown.text += str(message.delta)
