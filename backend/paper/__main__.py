"""Run the paper venue: two HTTP faces, the engine's thread, and a clean stop on SIGTERM."""

import asyncio
import logging
import os
import signal
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from paper.control_face import create_control_face
from paper.engine import Engine
from paper.faults import Faults, read_standing
from paper.journal import JournalDamaged
from paper.qc_face import create_qc_face
from paper.settings import Settings, read_demo, read_settings
from paper.venue import StateFolderInUse, Venue


class _Server(uvicorn.Server):
    """A server that leaves the signals to us: two of them run side by side."""

    def install_signal_handlers(self) -> None: ...


def _listen(settings: Settings) -> list[socket.socket]:
    """Open both ports before anything starts, so that a taken one is told in a sentence."""
    sockets = []
    for name in ("paper_qc_port", "paper_test_port"):
        address = (settings.paper_host, getattr(settings, name))
        try:
            sockets.append(socket.create_server(address))
        except OSError as error:
            raise OSError(
                f"cannot listen on {address[0]}:{address[1]}: {os.strerror(error.errno or 0)}; "
                f"set another {name.upper()}"
            ) from error
    return sockets


def _server(app: FastAPI) -> _Server:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    return _Server(config)


async def _serve(apps: list[FastAPI], sockets: list[socket.socket], engine: Engine) -> None:
    servers = [_server(app) for app in apps]

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    engine.start()
    pairs = zip(servers, sockets, strict=True)
    tasks = [asyncio.create_task(server._serve([listener])) for server, listener in pairs]
    while not engine.failed.is_set() and not any(task.done() for task in tasks):
        await asyncio.wait(tasks, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
    stop()
    await asyncio.gather(*tasks)


def main() -> int:
    """Run until a signal; 1 when the engine failed, 2 when it cannot start."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = read_settings()
        demo = read_demo(settings.demo_config)
        sockets = _listen(settings)
        faults = Faults(read_standing(settings.faults), settings.paper_seed)
        venue = Venue(settings, demo, faults)
        engine = Engine(settings, demo, venue, faults)
    except (ValidationError, JournalDamaged, StateFolderInUse, OSError, ValueError) as error:
        sys.stderr.write(f"paper: {error}\n")
        if isinstance(error, ValidationError):
            sys.stderr.write("paper: secrets are files named like the field in SECRETS_DIR\n")
        return 2
    qc_face = create_qc_face(settings, demo, venue, engine, faults)
    control_face = create_control_face(venue, engine, faults)
    try:
        asyncio.run(_serve([qc_face, control_face], sockets, engine))
    finally:
        engine.stop()
        venue.close()
    return 1 if engine.failed.is_set() else 0


if __name__ == "__main__":
    sys.exit(main())
