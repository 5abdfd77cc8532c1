"""The calls to the API: with whose token, what an answer means, and when nothing is known."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from gate.vault import Pass, get_vault
from gate_world import ApiStandIn, Login, serving
from services import api_client
from services.models import Channel, Ticket, User
from starlette.responses import JSONResponse, Response

TICKET = Ticket(1, "AAPL", "buy", "limit", Decimal("1E+1"), Decimal("20.50"), "day")
ORDER = {
    "order_id": "7",
    "client_order_id": "ui-1",
    "account_id": "1",
    "status": "new",
    "reason_code": None,
    "cum_quantity": "0",
    "average_price": None,
    "replayed": False,
    "created_at": "2026-11-23T01:02:03.000004Z",
    "updated_at": "2026-11-23T01:02:03.000004Z",
}
PREVIEW = {
    "would": "deny",
    "reason_code": "ORDER_QUANTITY_EXCEEDS_MAX",
    "quantity_max": "9",
    "notional": "205",
    "estimated_fee": None,
    "mark_price": "20.4",
    "mark_age_s": 0.4,
    "position_before": "-3",
    "position_after": "7",
    "cash_before": "100000",
    "cash_after": None,
    "limits": [{"name": "order_quantity", "used": "10", "limit": "9"}],
    "warnings": ["Too much."],
    "something": "new",
}


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiStandIn]:
    stand_in = ApiStandIn()
    async with serving(stand_in.app) as port:
        monkeypatch.setenv("APP_ENV", "test")
        monkeypatch.setenv("API_URL", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("PUBLIC_URL", "http://screen.test")
        yield stand_in


def connected(login: Login) -> User:
    identity = login.identity
    get_vault().put(Pass(identity, "", login.expires_at, login.token))
    return User(identity.user_id, identity.role, identity.session_handle)


async def call(function: Any, *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


async def test_an_order_is_placed_with_the_users_own_token_and_under_its_id(
    api: ApiStandIn,
) -> None:
    user = connected(login := api.login())
    api.answers["/api/orders"] = JSONResponse(ORDER, 201)
    state = await call(api_client.place, user, TICKET, "ui-1")
    assert (state.order_id, state.status, state.replayed) == (7, "new", False)
    assert state.created_at == datetime(2026, 11, 23, 1, 2, 3, 4, tzinfo=UTC)
    (asked,) = api.asked
    assert asked.headers["Cookie"] == f"sAccessToken={login.token}"
    assert asked.headers["Origin"] == "http://screen.test"
    assert asked.headers["rid"]
    assert asked.headers["Idempotency-Key"] == "ui-1"
    assert len(asked.headers["X-Request-Id"]) == 32
    sent = json.loads(api.bodies[0])
    assert (sent["account_id"], sent["quantity"], sent["limit_price"]) == ("1", "10", "20.50")


async def test_a_preview_is_exact(api: ApiStandIn) -> None:
    user = connected(api.login())
    api.answers["/api/orders/preview"] = JSONResponse(PREVIEW)
    said = await call(api_client.preview, user, TICKET)
    assert (said.would, said.quantity_max, said.position_before) == ("deny", 9, -3)
    assert said.limits[0].limit == 9
    assert said.warnings == ("Too much.",)


async def test_a_cancellation_names_the_order(api: ApiStandIn) -> None:
    user = connected(api.login())
    api.answers["/api/orders/7/cancel"] = JSONResponse({**ORDER, "status": "pending_cancel"}, 202)
    assert (await call(api_client.cancel, user, 7)).status == "pending_cancel"


async def test_channels_are_read_set_tried_and_removed(api: ApiStandIn) -> None:
    user = connected(api.login())
    row = {
        "name": "phone", "hint": "ntfys://ntfy.test", "kinds": ["fill"], "account_ids": ["1"],
        "interval_s": 60, "enabled": True, "failures": 0, "last_error": None, "sent_at": None,
        "created_at": "2026-11-23T01:02:03Z", "pending": 0, "dead": 0,
    }  # fmt: skip
    api.answers["/api/notifications"] = JSONResponse({"items": [row]})
    [channel] = await call(api_client.channels, user)
    assert channel == Channel("phone", "ntfys://ntfy.test", ("fill",), (1,), 60, enabled=True)
    api.answers["/api/notifications/phone"] = Response(status_code=204)
    api.answers["/api/notifications/phone/test"] = JSONResponse(None, 202)
    await call(api_client.set_channel, user, channel, "")
    await call(api_client.set_channel, user, replace(channel, account_ids=None), "jsons://a.test")
    await call(api_client.send_test, user, "phone")
    await call(api_client.remove_channel, user, "phone")
    assert [asked.method for asked in api.asked] == ["GET", "PUT", "PUT", "POST", "DELETE"]
    kept, changed = (json.loads(body) for body in api.bodies[1:3])
    assert kept == {"kinds": ["fill"], "interval_s": 60, "enabled": True, "account_ids": ["1"]}
    assert changed == {
        "kinds": ["fill"], "interval_s": 60, "enabled": True, "url": "jsons://a.test"
    }  # fmt: skip


async def test_no_cookie_of_an_answer_travels_with_the_next_user(api: ApiStandIn) -> None:
    alice, bob = connected(api.login()), connected(login := api.login())
    api.answers["/api/orders"] = JSONResponse(
        ORDER, headers={"Set-Cookie": "sAccessToken=alices; Path=/"}
    )
    await call(api_client.place, alice, TICKET, "ui-1")
    await call(api_client.place, bob, TICKET, "ui-2")
    assert api.asked[1].headers.getlist("Cookie") == [f"sAccessToken={login.token}"]


async def test_a_refusal_says_why(api: ApiStandIn) -> None:
    user = connected(api.login())
    errors = [{"loc": ["body", "quantity"], "type": "number_pattern"}]
    problem = {"code": "validation_failed", "title": "No", "detail": "Look", "errors": errors}
    api.answers["/api/orders"] = JSONResponse(problem, 422)
    with pytest.raises(api_client.ApiProblem) as refused:
        await call(api_client.place, user, TICKET, "ui-1")
    said = refused.value
    assert (said.status, said.code, said.title, said.detail, said.errors) == (
        *(422, "validation_failed", "No", "Look"),
        errors,
    )


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        JSONResponse({"code": "service_unavailable"}, 503),
        Response("<html>", 200),
        Response("not a problem", 413),
        JSONResponse([ORDER]),
        JSONResponse(None),
        JSONResponse({**ORDER, "cum_quantity": "many"}),
        JSONResponse({**ORDER, "created_at": "2026-11-23T01:02:03"}),
        JSONResponse({}),
        Response(b"[" * 2_000_000),
        Response(status_code=307, headers={"Location": "http://evil.test/"}),
    ],
)
async def test_what_is_no_clear_answer_leaves_the_outcome_open(
    api: ApiStandIn, answer: Response
) -> None:
    user = connected(api.login())
    api.answers["/api/orders"] = answer
    with pytest.raises(api_client.ApiDown):
        await call(api_client.place, user, TICKET, "ui-1")


async def test_an_api_that_is_gone_leaves_the_outcome_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("APP_ENV", "test")
    monkeypatch.setenv("API_URL", "http://127.0.0.1:9")
    with pytest.raises(api_client.ApiDown):
        await call(api_client.cancel, connected(ApiStandIn().login()), 7)


async def test_without_a_pass_nothing_is_sent(api: ApiStandIn) -> None:
    user = connected(api.login())
    for stranger in (User(user.user_id, "trader", "other"), User("other", "trader", "x")):
        with pytest.raises(api_client.ApiProblem) as refused:
            await call(api_client.place, stranger, TICKET, "ui-1")
        assert refused.value.status == 401
    assert api.asked == []
