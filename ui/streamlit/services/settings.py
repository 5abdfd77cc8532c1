"""Every setting of the screen, read once from the environment and from the secrets folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

SECRET_NAMES = ("app_read_password", "proxy_secret", "streamlit_cookie", "worker_token")
PLACEHOLDERS = ("", "changeme", "change-me", "changethis")
APP_ENVS = ("dev", "test", "production")


class SettingsError(RuntimeError):
    """The screen cannot start as it is configured; the message says what to change."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What this process was told; names in upper case are the environment's."""

    app_env: str
    public_url: str
    api_url: str
    database_host: str
    database_port: int
    database_name: str
    login_module: str
    secrets: Mapping[str, str]
    # Whether prices come from a venue that replays old ones, so that the screen says so.
    replayed_prices: bool = False

    @property
    def public_host(self) -> str:
        """The name, without port, under which people reach the screen."""
        return urlsplit(self.public_url).hostname or ""

    def secret(self, name: str) -> str:
        """Return a secret this process cannot do without, or say where it is missing."""
        value = self.secrets.get(name, "")
        if value.lower() in PLACEHOLDERS:
            raise SettingsError(
                f"The secret {name} is missing. Put it into the file SECRETS_DIR/{name}"
                f" or set {name.upper()}."
            )
        return value

    def __repr__(self) -> str:
        """Name what may be printed; secrets may not."""
        return f"Settings(app_env={self.app_env!r}, public_url={self.public_url!r})"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Build the settings from an environment."""
    app_env = environ.get("APP_ENV", "")
    if app_env not in APP_ENVS:
        raise SettingsError(f"APP_ENV must be one of {', '.join(APP_ENVS)}.")
    secrets = _read_secrets(environ)
    if app_env == "production":
        _refuse_placeholders(secrets)
    return Settings(
        app_env=app_env,
        public_url=_origin(environ, "PUBLIC_URL", "http://localhost:8080"),
        api_url=_origin(environ, "API_URL", "http://127.0.0.1:8000"),
        database_host=environ.get("DATABASE_HOST") or "127.0.0.1",
        database_port=_port(environ.get("DATABASE_PORT") or "5433"),
        database_name=environ.get("DATABASE_NAME") or "informania",
        login_module=environ.get("LOGIN_MODULE") or "peg_login",
        secrets=secrets,
        # Set wherever our own paper venue runs.
        replayed_prices=bool(environ.get("REPLAY_SESSION_SECONDS")),
    )


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings of this process once."""
    return load_settings(os.environ)


def _origin(environ: Mapping[str, str], name: str, default: str) -> str:
    parts = urlsplit(environ.get(name) or default)
    bare = parts.path in ("", "/") and not (parts.query or parts.fragment or parts.username)
    if parts.scheme not in ("http", "https") or not parts.hostname or not bare:
        raise SettingsError(f"{name} must be an origin such as {default}.")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise SettingsError("DATABASE_PORT must be a port number.")
    return int(text)


def _read_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    folder = environ.get("SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise SettingsError(f"SECRETS_DIR names {folder}, which is no folder.")
    return {name: _secret(environ, folder, name) for name in SECRET_NAMES}


def _secret(environ: Mapping[str, str], folder: str | None, name: str) -> str:
    if value := environ.get(name.upper()):
        return value.strip()
    path = Path(folder) / name if folder else None
    return path.read_text().strip() if path and path.is_file() else ""


def _refuse_placeholders(secrets: Mapping[str, str]) -> None:
    for name, value in secrets.items():
        if value and value.lower() in PLACEHOLDERS:
            raise SettingsError(f"{name.upper()} holds a placeholder; production refuses it.")
