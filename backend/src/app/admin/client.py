"""A signed-in administrator's session over HTTP; its cookies live in memory only."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from getpass import getpass
from pathlib import Path
from typing import Any

import httpx

TIMEOUT_S = 35.0


class Failed(Exception):
    """The command cannot be done; the message says why."""


class Refused(Failed):
    """The API answered with a problem."""

    def __init__(self, problem: dict[str, Any]) -> None:
        """Keep the problem: its code, and what is wrong in detail."""
        self.problem = problem
        super().__init__(f"{problem.get('code')}: {problem.get('detail', '')}")


@dataclass(frozen=True)
class Login:
    """Where to sign in, and as whom."""

    url: str
    email: str
    password: str


def find_login(
    environment: dict[str, str], *, url: str | None, email: str | None, file: str | None
) -> Login:
    """Take it from a file like .run/demo.json, from the environment, or ask for the password."""
    file = file or environment.get("INFORMANIA_CREDENTIALS")
    if file:
        return _from_file(Path(file), url, email)
    url = url or environment.get("PUBLIC_URL") or "http://localhost:8080"
    email = email or environment.get("INFORMANIA_EMAIL")
    if not email:
        raise Failed("who signs in? give --email, --credentials FILE or INFORMANIA_EMAIL")
    password = environment.get("INFORMANIA_PASSWORD") or getpass(f"Password of {email}: ")
    return Login(url, email, password)


def _from_file(path: Path, url: str | None, email: str | None) -> Login:
    try:
        found = json.loads(path.read_text())
        people = {one["email"]: one for one in found["users"]}
        administrators = [it for it in people.values() if it["role"] == "admin"]
        person = people[email] if email else administrators[0]
        return Login(url or found["url"], person["email"], person["password"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise Failed(f"{path} names no such administrator: {error!r}") from error


class Api:
    """What an administrator may ask; every refusal is a `Refused`."""

    def __init__(self, login: Login, transport: httpx.BaseTransport | None = None) -> None:
        """Sign in; the transport is another one in tests."""
        self._client = httpx.Client(
            base_url=login.url,
            headers={"rid": "anti-csrf", "Origin": login.url.rstrip("/")},
            timeout=TIMEOUT_S,
            transport=transport,
            trust_env=False,
        )
        fields = {"email": login.email, "password": login.password}
        form = [{"id": name, "value": value} for name, value in fields.items()]
        answer = self._send("POST", "/auth/signin", {"formFields": form})
        if answer.get("status") != "OK":
            raise Failed(f"{login.email} cannot sign in: {answer.get('status')}")

    def close(self) -> None:
        """Forget the session's cookies."""
        self._client.close()

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Read a list of master data to its end."""
        offset: str | None = "0"
        while offset is not None:
            page = self._send("GET", f"/api/admin/{kind}?offset={offset}")
            yield from page["items"]
            offset = page["next"]

    def get(self, path: str) -> dict[str, Any]:
        """Read something."""
        return self._send("GET", path)

    def put(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        """Set master data."""
        return self._send("PUT", f"/api/admin/{kind}", body)

    def post(self, path: str, body: dict[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Do something."""
        return self._send("POST", path, body, key=key)

    def change(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Do something that has no answer."""
        self._send(method, path, body)

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str | None = None
    ) -> dict[str, Any]:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            answer = self._client.request(method, path, json=body, headers=headers)
        except httpx.TransportError as error:
            raise Failed(f"{self._client.base_url} does not answer: {error}") from error
        if answer.status_code == 204:
            return {}
        try:
            found: dict[str, Any] = answer.json()
        except ValueError as error:
            message = f"{self._client.base_url} answers {answer.status_code} without JSON"
            raise Failed(message) from error
        if answer.status_code >= 400:
            raise Refused(found)
        return found
