"""Every setting of the backend, read once from the environment and from the secrets folder."""

from enum import StrEnum
from functools import lru_cache
from ipaddress import ip_address
from os import environ
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

BACKEND_DIR = Path(__file__).resolve().parents[3]
SECRET_FIELDS = (
    "app_write_password",
    "app_worker_password",
    "app_migrate_password",
    "core_api_key",
    "proxy_secret",
    "db_token_key",
    "webhook_hmac",
    "worker_token",
    "qc_token",
    "anchor_key",
)


class AppEnv(StrEnum):
    """Where this process runs; decides which shortcuts are tolerated."""

    DEV = "dev"
    TEST = "test"
    PRODUCTION = "production"


class ApiRole(StrEnum):
    """Which routes an API process serves; only `hot` and `all` open the hot store."""

    ALL = "all"
    API = "api"
    HOT = "hot"


class Settings(BaseSettings):
    """Field names in upper case are the environment's; secrets are files named like the field."""

    model_config = SettingsConfigDict(
        case_sensitive=False, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    app_env: AppEnv
    public_url: str = "http://localhost:8080"
    secrets_dir: Path | None = None

    database_host: str = "127.0.0.1"
    database_port: int = Field(default=5433, ge=1, le=65535)
    database_name: str = "informania"
    database_pool_size: int = Field(default=10, ge=1, le=200)
    database_acquire_timeout_s: float = Field(default=2.0, gt=0, le=60)
    database_connect_timeout_s: float = Field(default=3.0, gt=0, le=60)
    database_command_timeout_s: float = Field(default=5.0, gt=0, le=300)
    # Single placements on one account that wait for each other share a transaction; 1: never.
    place_batch_max: int = Field(default=50, ge=1, le=500)
    place_batch_wait_ms: float = Field(default=2.0, ge=0, le=100)
    app_write_password: SecretStr = SecretStr("")
    app_worker_password: SecretStr = SecretStr("")
    app_migrate_password: SecretStr = SecretStr("")

    api_role: ApiRole = ApiRole.ALL
    supertokens_uri: str = "http://127.0.0.1:3567"
    core_api_key: SecretStr = SecretStr("")
    proxy_secret: SecretStr = SecretStr("")
    db_token_key: SecretStr = SecretStr("")
    webhook_hmac: SecretStr = SecretStr("")
    worker_token: SecretStr = SecretStr("")
    signin_limit_per_minute: int = Field(default=10, ge=1)

    lmdb_dir: Path | None = None
    lmdb_library: Path = BACKEND_DIR / "zig-lmdb" / "target" / "libzig_lmdb.so"

    qc_url: str = "http://127.0.0.1:5612/api/v2/"
    qc_user_id: str = "1"
    qc_token: SecretStr = SecretStr("")

    # A TWS or Gateway; without a host there is no route `ib`.
    ib_host: str = ""
    ib_port: int = Field(default=7497, ge=1, le=65535)
    ib_client_id: int = Field(default=11, ge=1, le=999_999)

    # A venue that replays a market (the test face of `paper`); without it that source is silent.
    replay_quotes_url: str = ""

    send_timeout_s: float = Field(default=2.0, gt=0)
    send_valid_s: float = Field(default=10.0, gt=0)
    shard_lease_s: float = Field(default=20.0, gt=0)
    poll_interval_ms: int = Field(default=250, ge=10)
    query_after_s: float = Field(default=3.0, gt=0)
    # Orders that work at a venue are asked about when nothing was heard for so long.
    open_query_after_s: float = Field(default=600.0, ge=1)
    # How often the venues' own lists of executions are read.
    executions_every_s: float = Field(default=60.0, gt=0)
    # How often positions and cash are held against the brokers' reports.
    reconcile_every_s: float = Field(default=20.0, gt=0)
    order_ttl_s: float = Field(default=120.0, gt=0)
    # Whether messages may go to addresses that are not on the public internet.
    notify_allow_private: bool = False
    # How long series are kept; 0: for ever.
    quotes_keep_days: int = Field(default=30, ge=1, le=36_500)
    equity_keep_days: int = Field(default=0, ge=0, le=36_500)
    bars_keep_days: int = Field(default=0, ge=0, le=36_500)
    # Where signed roots of the audit chains go, and how often; without a sink none are made.
    anchor_sink: str = ""
    anchor_every_s: float = Field(default=3600.0, ge=1)
    anchor_key: SecretStr = SecretStr("")
    worker_metrics_host: str = "127.0.0.1"
    worker_metrics_port: int = Field(default=9101, ge=0, le=65535)

    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _bare_origin(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("PUBLIC_URL must look like https://host or http://localhost:8080")
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
            raise ValueError("PUBLIC_URL must be an origin only: no path, query or user")
        return f"{parts.scheme}://{parts.netloc.lower()}"

    @model_validator(mode="after")
    def _refuse_unsafe_production(self) -> Self:
        if self.app_env is not AppEnv.PRODUCTION:
            return self
        parts = urlsplit(self.public_url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise ValueError("PUBLIC_URL must be https in production")
        for field in SECRET_FIELDS:
            secret: SecretStr = getattr(self, field)
            if field in self.model_fields_set and is_placeholder(secret.get_secret_value()):
                raise ValueError(f"{field.upper()} holds a placeholder; production refuses it")
        return self

    def secret(self, field: str) -> str:
        """Return a secret that this process cannot do without, or say where it is missing."""
        value: SecretStr = getattr(self, field)
        plain = value.get_secret_value().strip()
        if not plain or (self.app_env is AppEnv.PRODUCTION and is_placeholder(plain)):
            raise MissingSecret(
                f"The secret {field} is missing. "
                f"Put it into the file {self.secrets_dir or 'SECRETS_DIR'}/{field} "
                f"or set {field.upper()}."
            )
        return plain


class MissingSecret(RuntimeError):
    """A secret this process needs is not configured."""


def is_placeholder(value: str) -> bool:
    """Say whether a secret still holds what a template ships."""
    return value.strip().lower() in ("", "changeme", "change-me", "changethis")


def is_loopback(host: str) -> bool:
    """Say whether a host name can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: Any) -> Settings:
    """Build settings from the environment; `overrides` win."""
    folder = overrides.get("secrets_dir") or environ.get("SECRETS_DIR") or None
    if folder is not None and not Path(folder).is_dir():
        raise MissingSecret(f"SECRETS_DIR names {folder}, which is no folder.")
    return Settings(**{"_secrets_dir": folder, **overrides})


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings of this process once."""
    return load_settings()
