"""Every setting of the paper venue, read once from the environment and the secrets folder."""

import os
import tomllib
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]


class Settings(BaseSettings):
    """Field names in upper case are the environment's; secrets are files named like the field."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    # There is no production use: a process that believes it is in production must not start.
    app_env: Literal["dev", "test"] = "dev"
    paper_qc_port: int = Field(default=5612, ge=0, le=65535)
    paper_test_port: int = Field(default=5613, ge=0, le=65535)
    # Another address is for a private container network: the test face asks nobody who he is.
    paper_host: str = "127.0.0.1"
    paper_state_dir: Path = ROOT / ".run" / "paper"
    paper_step_seconds: float = Field(default=0.05, ge=0.01, le=1)
    paper_seed: int = 1
    # kind=probability,... of paper.faults; a platform that has to cope from the start.
    faults: str = ""
    demo_config: Path = ROOT / "db" / "postgres" / "demo" / "demo.toml"
    webhook_url: str = "http://127.0.0.1:8000/api/webhooks/quantconnect"
    webhook_hmac: SecretStr
    qc_user_id: str = "1"
    qc_token: SecretStr
    qc_skew_seconds: int = Field(default=7200, ge=1)
    # What QuantConnect's reads show is about ten minutes old.
    qc_snapshot_seconds: float = Field(default=600, ge=0)
    # A live deployment has a node of its own; the demo's accounts take one each.
    paper_live_nodes: int = Field(default=8, ge=1, le=100)
    replay_session_seconds: int = Field(default=600, ge=4, le=86_400)
    market_hours: Literal["always", "exchange"] = "always"
    bridge_file: Path = ROOT / "ops" / "quantconnect" / "main.py"
    bridge_interval_seconds: float = Field(default=1.0, ge=0.05)
    bridge_dedupe: Literal["on", "off"] = "on"


@dataclass(frozen=True)
class Account:
    """One account of the demo: a QuantConnect project with cash of its own."""

    project_id: int
    name: str
    opening_cash: Decimal


@dataclass(frozen=True)
class Instrument:
    """What can be traded, and in which steps."""

    symbol: str
    tick_size: Decimal
    lot_size: Decimal


@dataclass(frozen=True)
class Demo:
    """The venue's part of demo.toml."""

    accounts: tuple[Account, ...]
    instruments: tuple[Instrument, ...]
    bars_path: Path


def read_settings() -> Settings:
    """Read the environment; SECRETS_DIR names the folder of secret files."""
    return Settings(_secrets_dir=os.environ.get("SECRETS_DIR"))  # type: ignore[call-arg]


def read_demo(path: Path) -> Demo:
    """Read demo.toml, with the market data beside it."""
    with path.open("rb") as file:
        document: dict[str, Any] = tomllib.load(file)
    accounts = [
        Account(int(row["project_id"]), row["name"], Decimal(row["opening_cash"]))
        for row in document["account"]
    ]
    instruments = [
        Instrument(row["symbol"], Decimal(row["tick_size"]), Decimal(row["lot_size"]))
        for row in document["instrument"]
    ]
    return Demo(tuple(accounts), tuple(instruments), path.with_name("daily_bars.csv.gz"))
