"""A trader says in a real browser where he wants to be told of news."""

import asyncpg
import pytest
from browser_client import CHROMIUM, Person
from platform_client import Platform, eventually
from playwright.async_api import Browser, expect

pytestmark = [
    pytest.mark.platform,
    pytest.mark.xdist_group("platform"),
    pytest.mark.skipif(
        CHROMIUM is None, reason="no browser here: apt-get install chromium, then run again"
    ),
]

CHANNEL = "SELECT hint, kinds, enabled FROM app.notify_channels WHERE name = $1"
# Never resolved (RFC 6761), so that nothing leaves this machine; the path must not be seen.
ADDRESS = "jsons://hook.invalid/hush-hush"


async def test_a_channel_is_made_tried_changed_and_removed(
    platform: Platform, browser: Browser, database: asyncpg.Connection
) -> None:
    person = await Person.at(browser, platform)
    await person.sign_in("trader")
    await person.drawn("Dashboard")
    await person.page.get_by_role("button", name="trader").click()
    await person.page.get_by_role("button", name="Notifications").click()
    dialog = person.page.get_by_role("dialog", name="Notifications")
    save = dialog.get_by_role("button", name="Save")
    await save.wait_for()

    await dialog.get_by_label("Name", exact=True).fill("desk")
    await dialog.get_by_label("Address", exact=True).fill("jsons://10.0.0.1/news")
    await save.click()
    await expect(dialog.get_by_text("The address is refused")).to_be_visible()
    assert await database.fetchrow(CHANNEL, "desk") is None

    await dialog.get_by_label("Address", exact=True).fill(ADDRESS)
    await save.click()
    await expect(dialog.get_by_text("desk is saved.")).to_be_visible()
    await expect(dialog.get_by_label("Address", exact=True)).to_have_value("")
    row = await database.fetchrow(CHANNEL, "desk")
    assert sorted(row["kinds"]) == ["break", "halt", "lost", "reject"]
    assert "hush" not in row["hint"]
    assert "hush" not in await person.page.content()

    await dialog.get_by_role("button", name="Send a test").click()
    await expect(dialog.get_by_text("A test is on its way.")).to_be_visible()

    await dialog.get_by_role("button", name="Change").click()
    await expect(dialog.get_by_text("Change desk")).to_be_visible()
    # The form of a new channel has one field more; its last ones go only when the run ends.
    switch = dialog.get_by_text("On", exact=True)
    await expect(switch).to_have_count(1)
    await switch.click()
    await save.click()
    await expect(dialog.get_by_text("desk is saved.")).to_be_visible()
    await expect(dialog.get_by_text("Off.")).to_be_visible()

    await dialog.get_by_role("button", name="Remove", exact=True).click()
    await expect(dialog.get_by_text("desk is removed.")).to_be_visible()
    await eventually(lambda: database.fetchrow(CHANNEL, "desk"), lambda found: found is None)
    assert person.breaches() == []
