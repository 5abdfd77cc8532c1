"""Runs the development core: `python -m devcore`."""

import logging
from typing import Any

import uvicorn

from devcore.app import create_app
from devcore.settings import load

WARNING = (
    "This is devcore, a stand-in for SuperTokens Core, for development and tests ONLY. "
    "It listens on http://%s:%s"
)


def main() -> None:
    settings = load()
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level="WARNING")
    logging.getLogger("devcore").warning(WARNING, settings.host, settings.port)
    quiet: Any = {"log_config": None, "access_log": False, "server_header": False}
    limits: Any = {"timeout_keep_alive": 75, "timeout_graceful_shutdown": 3}
    limits["limit_concurrency"] = 512
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port, **quiet, **limits)


if __name__ == "__main__":
    main()
