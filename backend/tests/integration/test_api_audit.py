"""Verifying over HTTP, and a history that a stranger checks with the script of the docs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from api_world import MakePerson, Person, World, code, order

from app.audits import anchoring
from app.audits.anchors import public_bytes, signing_key

PAGE = Path(__file__).resolve().parents[3] / "docs/audit.md"
KEY = signing_key("k" * 64)
PUBLIC_KEY = public_bytes(KEY).hex()

Check = Callable[..., tuple[int, str]]


async def anchor(world: World) -> None:
    async with world.migrate.transaction():
        await anchoring.anchor_now(world.migrate, KEY, actor="system:test")


async def export(person: Person, order_id: str) -> Any:
    answer = await person.client.get(f"/api/audit/orders/{order_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run the script that docs/audit.md prints."""
    [script] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(script.splitlines()) <= 60
    (tmp_path / "check.py").write_text(script)

    def run(document: Any, public_key: str = PUBLIC_KEY) -> tuple[int, str]:
        (tmp_path / "export.json").write_text(json.dumps(document))
        words = [sys.executable, "check.py", "export.json", public_key]
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout + done.stderr

    return run


async def test_only_an_administrator_verifies(world: World, make_person: MakePerson) -> None:
    for role, status in (("viewer", 403), ("trader", 403), ("admin", 200)):
        person = await make_person(role)
        account_id = await world.account(person)
        for body in ({}, {"account_id": str(account_id)}):
            answer = await person.client.post("/api/audit/verify", json=body)
            assert answer.status_code == status, (role, answer.text)
    found = answer.json()
    assert (found["chains"], found["broken"]) == (1, [])
    assert found["rows"] > 0
    for bad in ("4711", 1, "0", "x"):
        answer = await person.client.post("/api/audit/verify", json={"account_id": bad})
        assert answer.status_code == (404 if bad == "4711" else 422)


async def test_a_broken_row_is_named_with_why(world: World, make_person: MakePerson) -> None:
    admin = await make_person("admin")
    account_id = await world.account(admin)
    superuser = await world.database.connect("postgres")
    await superuser.execute("ALTER TABLE audit.audit_log DISABLE TRIGGER ALL")
    await superuser.execute(
        "UPDATE audit.audit_log SET actor = 'nobody' WHERE stream_id = $1 AND seq = 2", account_id
    )
    found = (await admin.client.post("/api/audit/verify", json={})).json()
    broken = {"account_id": str(account_id), "broken_seq": "2", "why": "content"}
    assert found["broken"] == [broken]


async def test_a_history_is_for_members_and_administrators(
    world: World, make_person: MakePerson
) -> None:
    owner, viewer, stranger, admin = [
        await make_person(role) for role in ("trader", "viewer", "trader", "admin")
    ]
    account_id = await world.account(owner, viewer)
    placed = (await owner.place(order(account_id))).json()
    for person, status in ((owner, 200), (viewer, 200), (admin, 200), (stranger, 404)):
        answer = await person.client.get(f"/api/audit/orders/{placed['order_id']}")
        assert answer.status_code == status
    assert code(answer) == "order_not_found"
    assert (await admin.client.get("/api/audit/orders/4711")).status_code == 404
    for bad in ("0", "x", "1" * 19):
        assert (await admin.client.get(f"/api/audit/orders/{bad}")).status_code == 422


async def test_the_printed_script_proves_a_good_export(
    world: World, trader: Person, check: Check
) -> None:
    account_id = await world.account(trader)
    await trader.place(order(account_id))
    placed = (await trader.place(order(account_id, symbol="AAPL"))).json()
    await trader.client.post(f"/api/orders/{placed['order_id']}/cancel")
    for _ in range(3):
        await trader.place(order(account_id))
    await world.account(trader)
    unanchored = await export(trader, placed["order_id"])
    assert unanchored["anchor"] is None
    assert "no anchor after this order yet" in check(unanchored)[1]

    await anchor(world)
    document = await export(trader, placed["order_id"])

    status, printed = check(document)
    assert status == 0, printed
    assert [line.split()[1] for line in printed.splitlines()] == ["anchored"] * 2
    assert '"order.place"' in printed
    # What was anchored later is proved by the same, first anchor: it stays as short as it was.
    await trader.place(order(account_id))
    await anchor(world)
    assert await export(trader, placed["order_id"]) == document


async def test_rows_after_the_newest_anchor_are_told_apart(
    world: World, trader: Person, check: Check
) -> None:
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id))).json()
    await anchor(world)
    await trader.client.post(f"/api/orders/{placed['order_id']}/cancel")
    status, printed = check(await export(trader, placed["order_id"]))
    assert status == 0, printed
    assert "anchored" in printed.splitlines()[0]
    assert "not anchored yet" in printed.splitlines()[-1]


def _edit(document: Any) -> None:
    document["links"][0] = document["links"][0].replace('"buy"', '"sell"')


def _leave_out(document: Any) -> None:
    del document["links"][1]


def _hide_row(document: Any) -> None:
    del document["rows"][-1]


def _cut(document: Any) -> None:
    del document["links"][-1]


def _other_account(document: Any) -> None:
    document["account_id"] = "999"


def _other_root(document: Any) -> None:
    statement = json.loads(document["anchor"]["statement"])
    document["anchor"]["statement"] = json.dumps({**statement, "root": "00" * 32})


def _other_leaf(document: Any) -> None:
    stream, seq, head = json.loads(document["anchor"]["leaf"])
    document["anchor"]["leaf"] = json.dumps([stream, seq - 1, head], separators=(",", ":"))


def _other_path(document: Any) -> None:
    document["anchor"]["path"] = document["anchor"]["path"][:-1]


def _swap(document: Any) -> None:
    document["links"][0:2] = reversed(document["links"][0:2])


ATTACKS = [_edit, _leave_out, _hide_row, _cut, _other_account, _other_root, _other_leaf,
           _other_path, _swap]  # fmt: skip


async def test_the_printed_script_refuses_what_was_tampered_with(
    world: World, trader: Person, check: Check
) -> None:
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id))).json()
    await trader.client.post(f"/api/orders/{placed['order_id']}/cancel")
    await world.account(trader)
    await anchor(world)
    good = await export(trader, placed["order_id"])
    assert check(good)[0] == 0
    for attack in ATTACKS:
        document = json.loads(json.dumps(good))
        attack(document)
        assert document != good, attack.__name__
        assert check(document)[0] == 1, attack.__name__
    assert "signed by another key" in check(good, "00" * 32)[1]


async def test_a_history_too_long_is_refused_in_words(
    world: World, trader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.sp_audit.EXPORT_LINKS_MAX", 3)
    account_id = await world.account(trader)
    placed = (await trader.place(order(account_id))).json()
    for _ in range(3):
        await trader.place(order(account_id))
    await anchor(world)
    answer = await trader.client.get(f"/api/audit/orders/{placed['order_id']}")
    assert (answer.status_code, code(answer)) == (422, "export_too_long")
