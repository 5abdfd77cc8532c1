"""One JSON object a line on standard output, with the request id and without secrets."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

TEXT_MAX = 8192
REDACTED = "[redacted]"
# Words that make a field's value a secret, whatever the value is.
SECRET_NAME = re.compile(
    r"password|passwd|secret|token|cookie|authorization|signature|api[-_]?key|hmac|dsn|credential",
    re.IGNORECASE,
)
SECRET_TEXT = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"  # a JSON web token
    r"|(?i:\bbearer\s+)\S+"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user and password of an address
    r"|(?i:\b(?:password|sAccessToken|sRefreshToken)=)[^\s;&]+"
)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take secrets out of an event, by the field's name and by the look of the text."""
    event.pop("color_message", None)  # uvicorn says everything twice
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def _clean(name: str, value: Any) -> Any:
    if SECRET_NAME.search(name):
        return REDACTED
    if isinstance(value, str):
        return SECRET_TEXT.sub(REDACTED, value[:TEXT_MAX])
    if isinstance(value, dict):
        return {str(key): _clean(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean("", inner) for inner in value[:100]]
    if value is None or isinstance(value, bool | int | float):
        return value
    return SECRET_TEXT.sub(REDACTED, str(value)[:TEXT_MAX])


def configure_logging(level: str, service: str) -> None:
    """Send our events and those of every library through the same chain."""

    def name_service(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        name_service,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _route_standard_logging(level, shared)


class _StandardOutput(logging.Handler):
    """Writes to what standard output is at that moment, which may have been redirected."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception:
            self.handleError(record)


def _route_standard_logging(level: str, shared: list[structlog.typing.Processor]) -> None:
    handler = _StandardOutput()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                redact,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Our own line a request has the id and no query string.
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error", "com.supertokens"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Their INFO says one line a request or a connection, which is ours to say.
    for name in ("httpx", "httpcore", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger of events."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
