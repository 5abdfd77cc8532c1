"""Asks a service whether it is well; every doubt is a no."""

import asyncio
import struct

PROBE_TIMEOUT_S = 3.0
ANSWER_BYTES_MAX = 256
POSTGRES_PROTOCOL = 3 << 16


async def _ask(port: int, question: bytes) -> bytes:
    async with asyncio.timeout(PROBE_TIMEOUT_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(question)
            return await reader.read(ANSWER_BYTES_MAX)
        finally:
            writer.close()


async def http_ok(port: int, path: str, host: str) -> bool:
    """Say whether GET answers 200; `host` is the name the service expects to be called by."""
    question = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    try:
        answer = await _ask(port, question.encode("ascii"))
    except (OSError, TimeoutError):
        return False
    words = answer.split(b" ", 2)
    return len(words) == 3 and words[1] == b"200"


async def postgres_accepts(port: int) -> bool:
    """Say whether Postgres lets sessions in; while it recovers, it listens but refuses."""
    body = struct.pack("!I", POSTGRES_PROTOCOL) + b"user\0postgres\0database\0postgres\0\0"
    try:
        answer = await _ask(port, struct.pack("!I", len(body) + 4) + body)
    except (OSError, TimeoutError):
        return False
    # "R" asks for the password, which is as far as a probe needs to go.
    return answer.startswith(b"R")
