"""Fills an installation with the demo: users, accounts, limits, cash and a replayed market."""

import asyncio
import csv
import gzip
import io
import json
import os
import secrets
import sys
import tomllib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Literal, cast

import psycopg
import supertokens_python
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from supertokens_python.asyncio import list_users_by_account_info
from supertokens_python.recipe import emailpassword, session, userroles
from supertokens_python.recipe.emailpassword.asyncio import sign_up
from supertokens_python.recipe.emailpassword.interfaces import SignUpOkResult
from supertokens_python.recipe.userroles.asyncio import (
    add_role_to_user,
    create_new_role_or_add_permissions,
)
from supertokens_python.types.base import AccountInfoInput

from app.services.database_setup import REPOSITORY_DIR, SetupError, SetupSettings
from app.services.fx_rates import SOURCE as RATES_SOURCE
from app.services.fx_rates import Rate, RatesUnreadable, put_rates, read_rates

ACTOR = "system:seed"
SOURCE = "replay"
TENANT = "public"
CURRENCY = "USD"
CORE_TIMEOUT_S = 60
BARS_A_CALL = 5_000


class SeedSettings(SetupSettings):
    """What the seed needs beside the database: the core and the demo's two files."""

    public_url: str = "http://localhost:8080"
    supertokens_uri: str = "http://127.0.0.1:3567"
    # Of a core that somebody else runs, whose key is not among our files.
    core_api_key: SecretStr | None = None
    demo_config: Path = REPOSITORY_DIR / "db/postgres/demo/demo.toml"
    demo_file: Path = REPOSITORY_DIR / ".run/demo.json"


class _Section(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Account(_Section):
    """An account of the demo; the venue knows it by its project."""

    name: str
    project_id: int
    opening_cash: Decimal


class Membership(_Section):
    """What a user may do in an account."""

    name: str
    can_trade: bool


class User(_Section):
    """A person of the demo."""

    email: str
    role: Literal["viewer", "trader", "admin"]
    accounts: tuple[Membership, ...]

    @property
    def password_name(self) -> str:
        """The name of the secret that holds his password."""
        return f"demo_{self.email.partition('@')[0]}_password"


class Instrument(_Section):
    """What is traded."""

    symbol: str
    name: str
    tick_size: Decimal
    lot_size: Decimal
    multiplier: Decimal = Decimal(1)


class Risk(_Section):
    """The limits of every account of the demo, in the order in which the procedure takes them."""

    order_quantity_max: Decimal
    order_notional_max: Decimal
    price_collar: Decimal
    position_quantity_max: Decimal
    open_orders_max: int
    orders_per_minute_max: int
    daily_loss_max: Decimal
    leverage_max: Decimal


class Demo(_Section):
    """The file both sides read: this seed and the paper venue."""

    accounts: tuple[Account, ...] = Field(alias="account")
    users: tuple[User, ...] = Field(alias="user")
    instruments: tuple[Instrument, ...] = Field(alias="instrument")
    risk: Risk


def load_demo(path: Path) -> Demo:
    """Read the demo's configuration."""
    try:
        return Demo.model_validate(tomllib.loads(path.read_text()))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise SetupError(f"{path} cannot be used: {error}") from error


def seed(settings: SeedSettings) -> None:
    """Make everything that is not there yet; what is there stays as it is."""
    if settings.app_env == "production":
        raise SetupError("the demo is not for production: APP_ENV must be dev or test")
    demo = load_demo(settings.demo_config)
    passwords = {user.email: password(settings, user) for user in demo.users}
    user_ids = asyncio.run(_sign_up_all(settings, demo.users, passwords))
    with settings.connect("app_migrate") as connection:
        account_ids = _lay_master_data(connection, demo, user_ids)
        _lay_bars(connection, settings.demo_config.parent / "daily_bars.csv.gz")
        _lay_rates(connection, settings.demo_config.parent / "fx_rates.csv.gz")
    write_demo_file(settings, demo, passwords, account_ids)


# --- identity -------------------------------------------------------------------------------


def password(settings: SeedSettings, user: User) -> str:
    """Return the password of a demo user, made once for each installation."""
    path = settings.secrets_dir / user.password_name
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return settings.secret(user.password_name)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "w") as file:
        # A letter and a digit are what the password rules ask for.
        file.write(f"{secrets.token_urlsafe(18)}a1")
    return settings.secret(user.password_name)


async def _sign_up_all(
    settings: SeedSettings, users: Iterable[User], passwords: dict[str, str]
) -> dict[str, str]:
    _init_identity(settings)
    try:
        async with asyncio.timeout(CORE_TIMEOUT_S):
            return {user.email: await _sign_up(user, passwords[user.email]) for user in users}
    except SetupError:
        raise
    # The SDK raises bare exceptions for a core that is away.
    except Exception as error:
        raise SetupError(
            f"the identity core at {settings.supertokens_uri} does not help: {error}"
        ) from error


def _init_identity(settings: SeedSettings) -> None:
    key = settings.core_api_key
    api_key = key.get_secret_value() if key else settings.secret("core_api_key")
    supertokens_python.init(
        app_info=supertokens_python.InputAppInfo(
            app_name="Informania",
            api_domain=settings.public_url,
            website_domain=settings.public_url,
        ),
        supertokens_config=supertokens_python.SupertokensConfig(
            connection_uri=settings.supertokens_uri, api_key=api_key
        ),
        framework="fastapi",
        mode="asgi",
        telemetry=False,
        recipe_list=[emailpassword.init(), session.init(), userroles.init()],
    )


async def _sign_up(user: User, secret: str) -> str:
    result = await sign_up(TENANT, user.email, secret)
    user_id = result.user.id if isinstance(result, SignUpOkResult) else await _find(user.email)
    await create_new_role_or_add_permissions(user.role, [])
    await add_role_to_user(TENANT, user_id, user.role)
    return user_id


async def _find(email: str) -> str:
    users = await list_users_by_account_info(TENANT, AccountInfoInput(email=email))
    if not users:
        raise SetupError(f"the identity core refuses to sign up {email}, yet does not know it")
    return users[0].id


# --- master data ----------------------------------------------------------------------------


def _lay_master_data(
    connection: psycopg.Connection, demo: Demo, user_ids: dict[str, str]
) -> dict[str, int]:
    """Make what the procedures do not know yet; return the id of each account by name."""
    for user in demo.users:
        _call(connection, "user_upsert", user_ids[user.email], user.email, user.role, False)
    for instrument in demo.instruments:
        words = (instrument.symbol, instrument.name, CURRENCY)
        sizes = (instrument.tick_size, instrument.lot_size)
        _call(connection, "instrument_upsert", *words, *sizes, True, instrument.multiplier)
    account_ids = {}
    for account in demo.accounts:
        account_ids[account.name] = _lay_account(connection, account, demo.risk)
    for user in demo.users:
        for member in user.accounts:
            member_of = account_ids[member.name]
            _call(connection, "member_set", member_of, user_ids[user.email], member.can_trade)
    return account_ids


def _lay_account(connection: psycopg.Connection, account: Account, risk: Risk) -> int:
    route = ("quantconnect", str(account.project_id))
    account_id = _call(connection, "account_upsert", account.name, CURRENCY, *route, True)
    limits = [getattr(risk, name) for name in Risk.model_fields]
    _call(connection, "risk_limits_set", account_id, *limits)
    opening = (account.opening_cash, "opening", "demo")
    _call(connection, "cash_book", account_id, CURRENCY, *opening)
    return cast("int", account_id)


def _call(connection: psycopg.Connection, procedure: str, *arguments: object) -> object:
    holders = ", ".join(["%s"] * (len(arguments) + 1))
    statement = f"SELECT app.sp_{procedure}({holders})"
    row = connection.execute(statement.encode(), [ACTOR, *arguments]).fetchone()
    return row[0] if row else None


# --- market data ----------------------------------------------------------------------------


Row = dict[str, str]


def _lay_bars(connection: psycopg.Connection, path: Path) -> None:
    """Load the history once; its dates stay as they were when the installation was made."""
    spans = connection.execute("SELECT symbol FROM app.sp_bars_span(%s)", [SOURCE])
    known = {symbol for (symbol,) in spans}
    bars = [bar for bar in redated(read_bars(path), _today()) if bar["symbol"] not in known]
    for start in range(0, len(bars), BARS_A_CALL):
        batch = json.dumps(bars[start : start + BARS_A_CALL])
        connection.execute("SELECT app.sp_bars_put(%s, %s::jsonb)", [SOURCE, batch])


def _lay_rates(connection: psycopg.Connection, path: Path) -> None:
    """Load exchange rates once, moved in time as the bars are."""
    if connection.execute("SELECT FROM app.sp_fx_rates_span(%s)", [RATES_SOURCE]).fetchone():
        return
    try:
        put_rates(connection, ACTOR, list(rates_redated(read_rates(path), _today())))
    except RatesUnreadable as error:
        raise SetupError(str(error)) from error


def rates_redated(rates: Iterable[Rate], today: date) -> Iterator[Rate]:
    """Yield rates moved so that the last ones are of the last session, one session after another.

    `original_date` says which day it really was.
    """
    days = sorted({rate["rate_date"] for rate in rates}, reverse=True)
    moved = dict(zip(days, sessions_before(today), strict=False))
    for rate in rates:
        was = rate["rate_date"]
        yield {**rate, "rate_date": moved[was].isoformat(), "original_date": was}


def _today() -> date:
    return datetime.now(UTC).date()


def read_bars(path: Path) -> list[Row]:
    """Read the daily bars that ship with the demo."""
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error}") from error
    return list(csv.DictReader(io.StringIO(text)))


def redated(rows: Iterable[Row], today: date) -> Iterator[Row]:
    """Yield the bars of each symbol moved so that the last one is of the last session.

    Sessions are laid on the weekdays before today, one on each; `original_date` says
    which day it really was.
    """
    by_symbol = groupby(sorted(rows, key=lambda r: (r["symbol"], r["date"])), lambda r: r["symbol"])
    for _, group in by_symbol:
        days = sessions_before(today)
        for row, day in zip(reversed(list(group)), days, strict=False):
            yield _bar(row, day)


def sessions_before(day: date) -> Iterator[date]:
    """Yield the weekdays before a day, the latest first."""
    while True:
        day -= timedelta(days=1)
        if day.isoweekday() <= 5:
            yield day


def _bar(row: Row, day: date) -> Row:
    numbers = {name: row[name] for name in ("open", "high", "low", "close", "volume")}
    return {
        "symbol": row["symbol"],
        "resolution": "1d",
        "bar_at": datetime.combine(day, time(), UTC).isoformat(),
        "original_date": row["date"],
        **numbers,
    }


# --- the demo file --------------------------------------------------------------------------


def write_demo_file(
    settings: SeedSettings, demo: Demo, passwords: dict[str, str], account_ids: dict[str, int]
) -> None:
    """Write where to sign in and as whom, readable by the owner alone."""
    content = {
        "url": settings.public_url,
        "users": [
            {
                "email": user.email,
                "password": passwords[user.email],
                "role": user.role,
                "accounts": [str(account_ids[member.name]) for member in user.accounts],
            }
            for user in demo.users
        ],
        "accounts": [{"account_id": str(i), "name": name} for name, i in account_ids.items()],
    }
    path = settings.demo_file
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f"{path.name}.new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    written.replace(path)


def main() -> int:
    """Seed; return the exit code."""
    try:
        seed(SeedSettings.load())
    except (SetupError, psycopg.Error) as error:
        sys.stderr.write(f"seed failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
