"""The files of the Reports page, taken along by a real browser and opened by other programs."""

import csv
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import asyncpg
import openpyxl
import pytest
from browser_client import CHROMIUM, Person
from platform_client import Platform, Trader, eventually
from playwright.async_api import Browser, expect
from pyarrow import parquet

pytestmark = [
    pytest.mark.platform,
    pytest.mark.xdist_group("platform"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
    ),
]
# What can be chosen, and how its file begins.
FILES = {
    "Executions": "executions_",
    "Days": "daily_pnl_",
    "Months": "monthly_pnl_",
    "Attribution": "attribution_",
    "Attribution ever": "attribution_ever_",
    "Costs": "execution_costs_",
}
AUDIT_LOG = {"Audit log": "audit_log_"}
Rows = list[dict[str, Any]]


def from_csv(data: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def from_xlsx(data: bytes) -> Rows:
    head, *lines = openpyxl.load_workbook(io.BytesIO(data)).active.iter_rows(values_only=True)
    return [dict(zip(head, line, strict=True)) for line in lines]


def from_parquet(data: bytes) -> Rows:
    rows: Rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    return rows


READERS: dict[str, Callable[[bytes], Rows]] = {
    "CSV": from_csv,
    "XLSX": from_xlsx,
    "Parquet": from_parquet,
}


async def traded(trader: Trader) -> None:
    """Something is filled, so that there is something to report."""
    key = "e2e-something-to-report"
    await trader.place(key, quantity="3")

    async def status() -> str:
        return str((await trader.order(key)).json()["status"])

    await eventually(status, lambda it: it == "filled")


async def at_reports(browser: Browser, platform: Platform, role: str) -> Person:
    """Someone on the Reports page with its files; the first day has to be sampled."""
    person = await Person.at(browser, platform, accept_downloads=True)
    await person.sign_in(role, "/Reports")
    await person.drawn("Reports")
    download = person.page.get_by_role("button", name="Download", exact=True)

    async def there() -> int:
        if not await download.count():
            await person.page.get_by_role("button", name="Refresh").click()
            await person.drawn("Reports")
        return await download.count()

    await eventually(there, lambda count: count == 1)
    return person


async def taken(person: Person, button: str) -> tuple[str, bytes]:
    """Press a button; answers the name and the bytes of the file that comes."""
    async with person.page.expect_download() as coming:
        await person.page.get_by_role("button", name=button, exact=True).click()
    download = await coming.value
    path = await download.path()
    return download.suggested_filename, path.read_bytes()


async def chosen(person: Person, what: str, kind: str) -> bytes:
    """The bytes of a chosen file: the button follows the choice with the next run of the page."""
    await person.choose("As", kind)
    _, data = await eventually(
        lambda: taken(person, "Download"),
        lambda it: (
            it[0].startswith(f"{(FILES | AUDIT_LOG)[what]}20") and it[0].endswith(kind.lower())
        ),
    )
    return data


async def test_every_table_of_a_report_is_the_same_in_every_kind_of_file(
    platform: Platform, browser: Browser, trader: Trader, database: asyncpg.Connection
) -> None:
    await traded(trader)
    person = await at_reports(browser, platform, "trader")
    await expect(person.table("Attribution")).to_be_visible()
    counts: dict[str, set[int]] = {}
    for what in FILES:
        await person.choose("Take along", what)
        for kind, read in READERS.items():
            counts.setdefault(what, set()).add(len(read(await chosen(person, what, kind))))
    assert all(len(found) == 1 and found != {0} for found in counts.values()), counts
    executions = await database.fetchval(
        "SELECT count(*) FROM app.executions WHERE account_id = ANY ($1)",
        [int(it) for it in trader.user["accounts"]],
    )
    assert counts["Executions"] == {executions}
    assert person.breaches() == []


async def test_the_audit_log_is_an_administrators_to_take_along(
    platform: Platform, browser: Browser, trader: Trader
) -> None:
    await traded(trader)
    person = await at_reports(browser, platform, "admin")
    await person.choose("Take along", "Audit log")
    links = from_csv(await chosen(person, "Audit log", "CSV"))
    assert {"0", trader.user["accounts"][0]} <= {row["stream_id"] for row in links}
    for before, after in pairwise(links):
        if before["stream_id"] == after["stream_id"]:
            assert after["prev_hash"] == before["hash"]

    other = await at_reports(browser, platform, "trader")
    await other.page.get_by_role("combobox", name="Take along").click()
    options = await other.page.get_by_role("option").all_inner_texts()
    assert "Audit log" not in options
    assert "Executions" in options


async def test_a_tear_sheet_opens_and_prints_without_asking_anybody(
    platform: Platform, browser: Browser, trader: Trader, tmp_path: Path
) -> None:
    await traded(trader)
    person = await at_reports(browser, platform, "trader")
    name, data = await taken(person, "Tear sheet")
    target = tmp_path / name
    target.write_bytes(data)

    page = await person.context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    await page.goto(target.as_uri())
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Tear sheet")
    await expect(page.get_by_text("Sharpe").first).to_be_visible()
    await expect(page.get_by_role("img", name="Profit and loss by day")).to_be_visible()
    assert (await page.pdf()).startswith(b"%PDF-")
    assert asked == [target.as_uri()]
    assert said == []
