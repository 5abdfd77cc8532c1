"""`informania-admin notifications`: one's own channels, and what an admin does about all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from admin_kit import Command, admin, command, credentials

__all__ = ["admin", "command", "credentials"]


async def _said(command: Command, *words: str) -> Any:
    code, out, complaint = await command("--json", "notifications", *words)
    assert code == 0, complaint
    assert "secret" not in out
    return json.loads(out)


async def test_a_channel_is_set_from_a_file_tested_and_ended(
    command: Command, tmp_path: Path
) -> None:
    address = tmp_path / "address"
    address.write_text("jsons://user:secret@hooks.example.com/secret\n")
    put = ("set", "desk", "--address-file", str(address), "--kind", "lost", "--kind", "break")
    (shown,) = await _said(command, *put)
    assert (shown["kinds"], shown["hint"]) == (["break", "lost"], "jsons://hooks.example.com/...")
    (shown,) = await _said(command, "set", "desk", "--kind", "halt", "--interval", "300", "--off")
    assert (shown["kinds"], shown["interval_s"], shown["enabled"]) == (["halt"], 300, False)
    await _said(command, "test", "desk")
    (mine,) = await _said(command, "mine")
    assert mine["pending"] == 1
    (one,) = await _said(command, "show", "desk")
    await _said(command, "requeue", one["channel_id"])
    await _said(command, "end", "desk")
    assert await _said(command, "mine") == []


async def test_an_administrator_removes_a_channel_by_its_id(
    command: Command, tmp_path: Path
) -> None:
    address = tmp_path / "address"
    address.write_text("ntfys://ntfy.example.com/secret")
    await _said(command, "set", "noisy", "--address-file", str(address), "--kind", "fill")
    (listed,) = await _said(command, "list")
    await _said(command, "remove", listed["channel_id"])
    assert await _said(command, "list") == []
    code, _, complaint = await command("notifications", "remove", listed["channel_id"])
    assert code == 1
    assert "channel" in complaint


async def test_a_hostile_address_is_refused_and_not_repeated(
    command: Command, tmp_path: Path
) -> None:
    address = tmp_path / "address"
    address.write_text("jsons://169.254.169.254/latest")
    put = ("notifications", "set", "evil", "--address-file", str(address), "--kind", "fill")
    code, out, complaint = await command(*put)
    assert code == 1
    assert "not on the public internet" in complaint
    assert "169.254" not in out + complaint
