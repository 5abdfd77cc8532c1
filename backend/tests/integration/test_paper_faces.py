"""The two HTTP faces of the real paper process: QuantConnect's API v2, and the control of tests."""

import base64
import hashlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from paper_world import HMAC_KEY, PROJECT, QC_TOKEN, QC_USER, PaperProcess, Receiver, until

from app.services.broker import OutcomeKind, Send
from app.services.qc_client import QuantConnectBroker, auth_headers


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[PaperProcess]:
    paper = PaperProcess(tmp_path_factory.mktemp("paper"), receiver)
    paper.start()
    yield paper
    paper.close()


@pytest.fixture
async def world(
    paper: PaperProcess, receiver: Receiver
) -> AsyncIterator[tuple[PaperProcess, Receiver, QuantConnectBroker]]:
    broker = QuantConnectBroker(
        url=f"http://127.0.0.1:{paper.qc_port}/api/v2/",
        user_id=QC_USER,
        token=QC_TOKEN,
        webhook_hmac=HMAC_KEY,
        epoch_of=lambda source: 1,
        send_timeout_s=1.0,
    )
    yield paper, receiver, broker
    await broker.close()


def make_send(client_order_id: str) -> Send:
    return Send(
        event_id=1,
        shard=0,
        epoch=1,
        action="place",
        kind="order.place.v1",
        order_id=1,
        client_order_id=client_order_id,
        account_id=1,
        route="quantconnect",
        broker_account=str(PROJECT),
        symbol="AAPL",
        side="buy",
        order_type="market",
        quantity=Decimal(1),
        limit_price=None,
        stop_price=None,
        time_in_force="day",
        expires_at=None,
        valid_until=datetime.now(UTC) + timedelta(seconds=30),
        attempts=1,
        request_id=None,
    )


def test_good_credentials_are_taken_from_headers_and_from_a_link(paper: PaperProcess) -> None:
    headers = auth_headers(QC_USER, QC_TOKEN)
    for method in ("GET", "POST"):
        answer = paper.qc.request(method, "authenticate", headers=headers)
        assert answer.json() == {"success": True, "errors": []}
    link = {"authorization": headers["Authorization"].removeprefix("Basic ")}
    answer = paper.qc.get("authenticate", params={**link, "timestamp": headers["Timestamp"]})
    assert answer.json()["success"] is True


def test_missing_or_old_credentials_are_a_401_with_a_challenge(paper: PaperProcess) -> None:
    old = str(int(time.time()) - 7300)
    digest = hashlib.sha256(f"{QC_TOKEN}:{old}".encode()).hexdigest()
    basic = base64.b64encode(f"{QC_USER}:{digest}".encode()).decode()
    aged = {"Timestamp": old, "Authorization": f"Basic {basic}"}
    for headers in ({}, {"Timestamp": "soon"}, aged):
        answer = paper.qc.post("live/commands/create", json={}, headers=headers)
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
        assert answer.json()["success"] is False


def test_a_wrong_hash_is_a_200_that_says_so(paper: PaperProcess) -> None:
    answer = paper.call("authenticate", {}, token="other")
    assert answer.status_code == 200
    (error,) = answer.json()["errors"]
    assert error.startswith(f"Hash doesn't match. UID: {QC_USER} Hash: ")
    stranger = paper.qc.get("authenticate", headers=auth_headers("8", QC_TOKEN))
    assert stranger.json()["errors"] == ["UserID not valid"]
    stamp = (b"Timestamp", str(int(time.time())).encode())
    for basic in (b"Basic \xe9", b"Basic ====", b"Basic " + base64.b64encode(b"\xff:\xff")):
        answer = paper.qc.get("authenticate", headers=[stamp, (b"Authorization", basic)])
        assert answer.json()["success"] is False


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b'{"projectId": 9}', b'{"projectId": "x"}', b'{"projectId": 1001}', b"\xff"],
)
def test_a_request_that_makes_no_sense_is_refused_and_not_an_error(
    paper: PaperProcess, body: bytes
) -> None:
    headers = auth_headers(QC_USER, QC_TOKEN)
    answer = paper.qc.post("live/commands/create", content=body, headers=headers)
    assert [answer.status_code, answer.json()["success"]] == [200, False]


def test_a_body_without_end_is_cut_off(paper: PaperProcess) -> None:
    headers = auth_headers(QC_USER, QC_TOKEN)
    answer = paper.qc.post("live/commands/create", content=b"x" * 70_000, headers=headers)
    assert answer.status_code == 413


def test_reads_take_forms_queries_and_json_and_page_by_a_hundred(
    paper: PaperProcess, receiver: Receiver
) -> None:
    paper.place("read-me")
    until(lambda: "filled" in receiver.statuses("read-me"), "the fill")
    headers = auth_headers(QC_USER, QC_TOKEN)
    page = {"projectId": PROJECT, "start": 0, "end": 100}
    answers = [
        paper.qc.post("live/orders/read", json=page, headers=headers),
        paper.qc.post("live/orders/read", data=page, headers=headers),
        paper.qc.get("live/orders/read", params=page, headers=headers),
    ]
    for answer in answers:
        (order,) = [o for o in answer.json()["orders"] if o["tag"] == "read-me"]
        assert [order["status"], order["type"], order["quantity"]] == [3, 0, 10.0]
        told = [e["exec_id"] for e in receiver.events("read-me") if "exec_id" in e]
        assert [e["id"] for e in order["events"] if e["fillQuantity"]] == told
    wide = paper.call("live/orders/read", {**page, "end": 101})
    assert wide.json()["success"] is False
    portfolio = paper.call("live/portfolio/read", {"projectId": PROJECT}).json()["portfolio"]
    assert portfolio["holdings"]["AAPL"]["quantity"] >= 10
    assert portfolio["cash"]["USD"]["amount"] < 100_000


def test_live_read_and_list_name_the_running_deployments(
    paper: PaperProcess, receiver: Receiver
) -> None:
    until(receiver.deliveries, "a heartbeat")
    one = paper.call("live/read", {"projectId": PROJECT}).json()
    assert [one["status"], one["deployId"]] == ["Running", receiver.deliveries()[0]["deploy_id"]]
    every = paper.call("live/list", {"status": "Running"}).json()["live"]
    assert [entry["projectId"] for entry in every] == [1001, 1002, 1003]
    assert paper.call("live/list", {"status": "Stopped"}).json()["live"] == []
    assert paper.call("no/such/endpoint", {}).status_code == 404


@pytest.mark.parametrize(
    ("kind", "outcome", "is_placed"),
    [
        ("delay", OutcomeKind.ACCEPTED, True),
        ("timeout_before_accept", OutcomeKind.UNKNOWN, False),
        ("timeout_after_accept", OutcomeKind.UNKNOWN, True),
        ("5xx_after_accept", OutcomeKind.UNKNOWN, True),
        ("throttle", OutcomeKind.THROTTLED, False),
        ("refuse", OutcomeKind.DEFINITE_REJECT, False),
    ],
)
async def test_a_fault_on_the_wire_ends_as_its_class_and_places_what_it_accepted(
    world: tuple[PaperProcess, Receiver, QuantConnectBroker],
    kind: str,
    outcome: OutcomeKind,
    is_placed: bool,
) -> None:
    paper, receiver, broker = world
    paper.fault(kind, client_order_id=kind, seconds=0.1 if kind == "delay" else 3)
    assert (await broker.place(make_send(kind))).kind is outcome
    # What follows shows that the queue has been worked through.
    assert (await broker.query(make_send(kind))).kind is OutcomeKind.ACCEPTED
    state = until(
        lambda: [e for e in receiver.events(kind) if e["kind"] == "order_state"], "the state"
    )
    assert state[0]["known"] is is_placed
    assert len(paper.orders(kind)) == int(is_placed)


def test_a_rejection_by_fault_reaches_the_order(paper: PaperProcess, receiver: Receiver) -> None:
    paper.fault("reject", client_order_id="no-.*", reason="halted by the venue")
    paper.place("no-thanks")
    until(lambda: receiver.statuses("no-thanks") == ["rejected"], "the rejection")
    assert receiver.events("no-thanks")[0]["reason"] == "halted by the venue"


def test_faults_are_listed_validated_and_cleared(paper: PaperProcess) -> None:
    paper.fault("delay", client_order_id="never", count=3)
    (fault,) = paper.control.get("/paper/v1/faults").json()
    assert [fault["kind"], fault["count"]] == ["delay", 3]
    for bad in ({"kind": "meteor"}, {"kind": "delay", "client_order_id": "("}, {}):
        assert paper.control.post("/paper/v1/faults", json=bad).status_code == 422
    assert paper.control.delete("/paper/v1/faults").status_code == 204
    assert paper.control.get("/paper/v1/faults").json() == []


def test_a_held_price_is_quoted_until_it_is_released(
    paper: PaperProcess, receiver: Receiver
) -> None:
    def quoted() -> str | None:
        quotes = [q for body in receiver.deliveries() for q in body["quotes"]]
        # None before the first.
        return next((q["price"] for q in reversed(quotes) if q["symbol"] == "GOOG"), None)

    paper.hold("GOOG", "500.25")
    until(lambda: quoted() == "500.25", "the held price in a webhook")
    assert paper.control.delete("/paper/v1/market/GOOG").status_code == 204
    until(lambda: quoted() != "500.25", "the replayed price")
    for symbol, price in (("TSLA", "1"), ("GOOG", "-1"), ("GOOG", "1.001")):
        answer = paper.control.post(f"/paper/v1/market/{symbol}", json={"price": price})
        assert answer.status_code in (404, 422)


def test_a_second_process_on_the_same_folder_does_not_start_and_says_why(
    paper: PaperProcess, receiver: Receiver
) -> None:
    twin = PaperProcess(paper.log_path.parent, receiver)
    with pytest.raises(AssertionError, match="Another paper venue uses this state folder"):
        twin.start()
    assert twin.process is not None
    assert twin.process.wait(10) == 2
    twin.close()


def test_a_stop_by_sigterm_is_clean(tmp_path: Path, receiver: Receiver) -> None:
    paper = PaperProcess(tmp_path, receiver)
    paper.start()
    process = paper.process
    paper.close()
    assert isinstance(process, subprocess.Popen)
    assert process.returncode == 0


def test_a_taken_port_is_told_in_a_sentence(
    paper: PaperProcess, tmp_path: Path, receiver: Receiver
) -> None:
    second = PaperProcess(tmp_path, receiver, PAPER_QC_PORT=str(paper.qc_port))
    with pytest.raises(AssertionError, match=r"in use; set another PAPER_QC_PORT\n$"):
        second.start()
    second.close()


def test_it_listens_where_it_is_told_and_nowhere_else(tmp_path: Path, receiver: Receiver) -> None:
    paper = PaperProcess(tmp_path, receiver, PAPER_HOST="127.0.0.2")
    paper.control.base_url = httpx.URL(f"http://127.0.0.2:{paper.test_port}")
    paper.start()
    try:
        for port in (paper.qc_port, paper.test_port):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), 1)
    finally:
        paper.close()


def test_it_does_not_start_in_production(tmp_path: Path, receiver: Receiver) -> None:
    paper = PaperProcess(tmp_path, receiver, APP_ENV="production")
    with pytest.raises(AssertionError, match="app_env"):
        paper.start()
    paper.close()
