"""The bridge: the algorithm that trades one QuantConnect project on Informania's behalf.

`informania-admin quantconnect deploy` uploads main.py, commands.py, feed.py and lean_orders.py, and
sets these parameters of the deployment:
  webhook_url, webhook_secret   where events go, and the key that signs them and the commands
  source, epoch                 "qc:<project id>", and the fence that commands must name
  symbols                       "AAPL,MSFT": nothing else is traded
  interval_s, pulse_s           between heartbeats (3600 / webhook quota; 60), between posts (1)
  brokerage                     "ib" for the rules of Interactive Brokers
  history                       "tagged" where the venue lists all orders, with tags, for ever
  dedupe                        "off" only for the negative control of a test

Commands arrive at most once and take no answer; what is known here leaves by webhooks whose
replies cannot be seen. So an order is written to the object store before it is placed, a repeated
PlaceOrder only repeats what is known of it, and events are repeated until acknowledged.
"""

from __future__ import annotations

# ruff: noqa: F403, F405, I001
# LEAN's star import brings .NET names along (its own Decimal, for one): it comes first, and
# modules are imported whole, so that nothing used here is shadowed.
from AlgorithmImports import *

import datetime as dt
import hmac
import re
import threading
import time
from typing import Any

import lean_orders
from commands import TYPES, WITHOUT_ORDER, BridgeCommand
from feed import TERMINAL, Feed, Ledger
from feed import canonical, iso, number, sign, utc_now, words

EXECUTIONS_A_STATE = 100
QUIT_WAIT_S = 20.0  # for the ends of orders, and for their acknowledgment
REPLACES_MAX = 20  # remembered of an order, so that none is obeyed twice
# What is good until a moment ends there; the venue has so long to do it itself.
EXPIRY_GRACE = dt.timedelta(seconds=2)
CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


class InformaniaBridge(QCAlgorithm):
    """Takes signed commands, keeps the ledger, reports what the venue does."""

    def initialize(self) -> None:
        BridgeCommand.receive = self.receive
        self._lock = threading.RLock()  # LEAN may report order events from a thread of its own
        self._dedupe = self.get_parameter("dedupe", "on") != "off"
        self._tagged = self.get_parameter("history", "") == "tagged"
        self._ledger = Ledger(self.object_store, f"bridge/{self.project_id}/orders/")
        self._feed = Feed(self, f"bridge/{self.project_id}/events")
        self._former = set(self._ledger.entries)  # taken on by an earlier run
        self._keys: dict[int, str] = {}  # order ids of this run -> client_order_id
        self._replacing: dict[str, OrderTicket] = {}  # with a change that nobody confirmed yet
        entries = self._ledger.entries.items()
        self._good_until = {key: str(e["expires_at"]) for key, e in entries if e.get("expires_at")}
        self._recovered, self._prune_at = False, 0.0
        tickers = [name for name in self.get_parameter("symbols", "").upper().split(",") if name]
        self._symbols = {t: self.add_equity(t, Resolution.SECOND).symbol for t in tickers}
        for command in TYPES:
            self.add_command(command)
        if self.get_parameter("brokerage", "") == "ib":
            interactive_brokers = BrokerageName.INTERACTIVE_BROKERS_BROKERAGE
            self.set_brokerage_model(interactive_brokers, AccountType.MARGIN)
        self._quit_at = 0.0  # when to end, whatever is still open; 0: not asked to
        if not self.live_mode:  # a backtest shows that it starts, and trades nothing
            self.set_start_date(2013, 1, 2)
            self.set_end_date(2013, 1, 3)
        pulse = dt.timedelta(seconds=float(self.get_parameter("pulse_s", "1")))
        self.schedule.on(self.date_rules.every_day(), self.time_rules.every(pulse), self._pulse)

    # What LEAN calls.

    def on_data(self, data: Slice) -> None:
        with self._lock:
            for symbol, bar in data.bars.items():
                name, quote = str(symbol.value), {"price": number(bar.close), "at": iso(utc_now())}
                self._feed.quotes[name] = {"symbol": name, **quote}

    def on_order_event(self, order_event: OrderEvent) -> None:
        with self._lock:
            self._recover()
            self._note(order_event)
            self._save()

    def receive(self, kind: str, fields: dict[str, Any]) -> bool:
        with self._lock:
            self._recover()
            refusal = self._refusal(kind, fields)
            if refusal is None:
                getattr(self, f"_{kind}")(fields)
            else:
                self._refuse(kind, fields, refusal)
            self._save()
            return refusal is None

    def _pulse(self) -> None:
        with self._lock:
            self._recover()
            if time.monotonic() >= self._prune_at:
                self._prune_at = time.monotonic() + 3600
                self._ledger.prune({event["client_order_id"] for event in self._feed.events})
            self._end_replaces()
            self._end_orders()
            if self._save():
                self._feed.publish(self._heartbeat)
            # Seen by live/read, where no webhook gets through.
            self.set_runtime_statistic("bridge_sequence", str(self._feed.sequence))
            if self._quit_at and (self._is_quiet() or time.monotonic() >= self._quit_at):
                self.quit("stopped by its operator")

    # Commands.

    def _refusal(self, kind: str, fields: dict[str, Any]) -> str | None:
        """Why a command is not obeyed, or None. The signature covers all other fields."""
        given = str(fields.get("signature")).encode()
        signed = {name: value for name, value in fields.items() if name != "signature"}
        if not hmac.compare_digest(given, sign(self._feed.secret, canonical(signed)).encode()):
            return "BAD_SIGNATURE"
        if fields.get("epoch") != self._feed.epoch:
            return "WRONG_EPOCH"
        if str(fields.get("valid_until")) < iso(utc_now()):
            return "EXPIRED"
        named = kind in WITHOUT_ORDER or self._key(fields) is not None
        return None if fields.get("version") == 1 and named else "INVALID"

    def _key(self, fields: dict[str, Any]) -> str | None:
        key = fields.get("client_order_id")
        return key if isinstance(key, str) and CLIENT_ORDER_ID.fullmatch(key) else None

    def _refuse(self, kind: str, fields: dict[str, Any], reason: str) -> None:
        """Words without a valid signature are not repeated: they could end an order that lives."""
        self.debug(f"{kind} refused: {reason}")
        if kind in WITHOUT_ORDER or self._feed.full():
            return
        trusted = {} if reason == "BAD_SIGNATURE" else fields
        detail = {"command": kind, "command_id": words(trusted.get("id")), "reason": reason}
        self._feed.emit("command_rejected", self._key(trusted), **detail)

    def _PlaceOrder(self, command: dict[str, Any]) -> None:  # noqa: N802
        key = command["client_order_id"]
        if self._dedupe and self._known(key):
            self._QueryOrder(command)
            return
        problem = self._problem(command)
        if problem is None and not self._ledger.add(key, **self._asked(command)):
            problem = "LEDGER_NOT_SAVED"
        if problem is not None:
            self._refuse("PlaceOrder", command, problem)
            return
        ticket = lean_orders.send(self, self._symbols[command["symbol"]], key, command)
        if ticket.status != OrderStatus.INVALID:
            self._link(key, ticket.order_id)
            return
        # Refused before it became an order: LEAN reports no event for it.
        response = ticket.submit_request.response
        end = {"status": "rejected", "reason": words(f"{response.error_code} {response}")}
        self._ledger.entries[key].update(end)
        self._ledger.dirty.add(key)
        self._feed.emit("order_event", key, **end)
        self._ledger.entries[key]["told"] = self._feed.sequence

    def _asked(self, command: dict[str, Any]) -> dict[str, Any]:
        """What the ledger keeps of a command besides its name."""
        expires_at = command["expires_at"] if command["time_in_force"] == "gtd" else None
        if expires_at is not None:
            self._good_until[command["client_order_id"]] = expires_at
        return {"values": lean_orders.values_of(command), "expires_at": expires_at}

    def _problem(self, command: dict[str, Any]) -> str | None:
        if self._quit_at:
            return "STOPPING"
        if not lean_orders.is_order(command):
            return "INVALID"
        if command.get("symbol") not in self._symbols:
            return "UNKNOWN_SYMBOL"
        return "BACKLOG_FULL" if self._ledger.full() or self._feed.full() else None

    def _CancelOrder(self, command: dict[str, Any]) -> None:  # noqa: N802
        key, reason = command["client_order_id"], "UNKNOWN_ORDER"
        entry = self._ledger.entries[key] if self._known(key) else {}
        if entry.get("status") in TERMINAL:
            reason = "ORDER_CLOSED"
        elif entry.get("order_id") is not None:
            ticket = self.transactions.get_order_ticket(entry["order_id"])
            response = None if ticket.status == OrderStatus.CANCEL_PENDING else ticket.cancel()
            if response is None or not response.is_error:
                return
            reason = str(words(response.error_code))
        self._feed.emit("cancel_rejected", key, reason=reason)
        self._QueryOrder(command)

    def _ReplaceOrder(self, command: dict[str, Any]) -> None:  # noqa: N802
        key, reason = command["client_order_id"], "UNKNOWN_ORDER"
        if not lean_orders.is_change(command):
            self._refuse("ReplaceOrder", command, "INVALID")
            return
        entry = self._ledger.entries[key] if self._known(key) else {}
        if command["id"] in entry.get("replaces", []):
            # Delivered twice; what came between must not be undone.
            self._QueryOrder(command)
            return
        if entry.get("status") in TERMINAL:
            reason = "ORDER_CLOSED"
        elif entry.get("order_id") is not None:
            ticket = self.transactions.get_order_ticket(entry["order_id"])
            response = lean_orders.change(ticket, command)
            if not response.is_error:
                entry["replaces"] = [*entry.get("replaces", []), command["id"]][-REPLACES_MAX:]
                self._replacing[key] = ticket
                self._ledger.dirty.add(key)
                return
            reason = str(words(response.error_code))
        self._feed.emit("replace_rejected", key, reason=reason)
        self._QueryOrder(command)

    def _end_replaces(self) -> None:
        """A change that the broker refused has no event; only its request knows."""
        for key, ticket in list(self._replacing.items()):
            response = list(ticket.update_requests)[-1].response
            if response.is_error:
                del self._replacing[key]
                reason = words(f"{response.error_code} {response.error_message}")
                self._feed.emit("replace_rejected", key, reason=reason)

    def _end_orders(self) -> None:
        """Cancel what is good until now: LEAN lets it live until the market closes."""
        now = iso(utc_now() - EXPIRY_GRACE) if self._good_until else ""
        for key in [key for key, moment in self._good_until.items() if moment <= now]:
            entry = self._ledger.entries.get(key, {"status": "expired"})
            if entry["status"] in TERMINAL:
                del self._good_until[key]
            elif entry["order_id"] is not None:
                ticket = self.transactions.get_order_ticket(entry["order_id"])
                if ticket.status != OrderStatus.CANCEL_PENDING:
                    ticket.cancel()

    def _QueryOrder(self, command: dict[str, Any]) -> None:  # noqa: N802
        """Tell what became of an order. Silence when the backlog is full: the asker repeats."""
        key = command["client_order_id"]
        if self._feed.full():
            return
        if not self._known(key):
            self._feed.emit("order_state", key, known=False)
            return
        if (order_id := self._ledger.entries[key]["order_id"]) is not None:
            self._note_all(self.transactions.get_order_ticket(order_id))
        self._tell_state(key)

    def _tell_state(self, key: str) -> None:
        entry = self._ledger.entries[key]
        ambiguous = entry["order_id"] is None and entry["status"] is None
        state = {"known": True, "status": entry["status"], **self._broker(entry)}
        state["reason"] = "AMBIGUOUS" if ambiguous else entry["reason"]
        state |= entry.get("values", {})
        for start in range(0, max(1, len(entry["executions"])), EXECUTIONS_A_STATE):
            some = entry["executions"][start : start + EXECUTIONS_A_STATE]
            self._feed.emit("order_state", key, executions=some, **state)

    def _Acknowledge(self, command: dict[str, Any]) -> None:  # noqa: N802
        self._feed.acknowledge(min(int(command["sequence"]), self._feed.sequence))

    def _QuitBridge(self, command: dict[str, Any]) -> None:  # noqa: N802
        """Cancel what works, and end when its end is reported, or has waited long enough."""
        for entry in self._working():
            self.transactions.get_order_ticket(entry["order_id"]).cancel()
        self._quit_at = time.monotonic() + QUIT_WAIT_S

    def _working(self) -> list[dict[str, Any]]:
        entries = self._ledger.entries.values()
        return [e for e in entries if e["order_id"] is not None and e["status"] not in TERMINAL]

    def _is_quiet(self) -> bool:
        return not self._working() and not self._feed.events

    def _Ping(self, command: dict[str, Any]) -> None:  # noqa: N802
        self._feed.beat_at = 0.0

    # The ledger against the venue.

    def _known(self, key: str) -> bool:
        """False is a proof that no earlier command has placed this order.

        An intent without an order is what a crash between saving and placing leaves. Where the
        orders of that run are still listed with their tags, their silence proves that it was not
        placed, and the intent is dropped; elsewhere nothing is proved, and it stays.
        """
        entry = self._ledger.entries.get(key)
        if entry is None or entry["order_id"] is not None or entry["status"] is not None:
            return entry is not None
        for ticket in self.transactions.get_order_tickets(lambda ticket: ticket.tag == key):
            self._link(key, ticket.order_id)
            return True
        if key in self._former and not self._tagged:
            return True
        self._ledger.remove(key)
        return False

    def _recover(self) -> None:
        """Once a run, when LEAN has loaded the venue's orders: match them with the ledger."""
        if self._recovered:
            return
        self._recovered, by_broker_id, saved = True, dict[str, str](), self._feed.sequence
        entries = self._ledger.entries
        # Killed between saving the ledger and the feed: nobody else knows what is noted here.
        untold = [key for key, entry in entries.items() if entry.get("told", 0) > saved]
        for key, entry in entries.items():
            if entry["status"] not in TERMINAL:
                # What held in another run is not known of this one until the order is found.
                entry["order_id"], entry["status"] = None, None
                by_broker_id |= dict.fromkeys(entry["broker_ids"], key)
        for ticket in list(self.transactions.get_order_tickets()):
            ids = self.transactions.get_order_by_id(ticket.order_id).broker_id
            found = [by_broker_id[str(i)] for i in ids if str(i) in by_broker_id]
            key = ticket.tag if ticket.tag in entries else next(iter(found), "")
            if key:
                self._link(key, ticket.order_id)
                entry = entries[key]
                if entry["status"] is None:
                    status = lean_orders.status_of(ticket.status, "")
                    entry["status"] = "accepted" if status == "replaced" else status
                    entry["values"] = lean_orders.values_held(ticket)
                self._note_all(ticket)
        for key in untold:
            self._tell_state(key)
        self._save()

    def _link(self, key: str, order_id: int) -> None:
        self._keys[int(order_id)] = key
        self._ledger.entries[key]["order_id"] = int(order_id)
        self._ledger.dirty.add(key)

    def _note_all(self, ticket: OrderTicket | None) -> None:
        """Note what LEAN's own list has of an order, and may have failed to report."""
        for order_event in list(ticket.order_events if ticket else ()):
            self._note(order_event)

    def _note(self, event: OrderEvent) -> None:
        """One order event: kept in the ledger, owed to the other side. Seen twice, noted once."""
        order = self.transactions.get_order_by_id(event.order_id)
        key = self._keys.get(int(event.order_id))
        if key is None and order.tag in self._ledger.entries:
            key = str(order.tag)
            self._link(key, event.order_id)
        foreign: dict[str, Any] = {"order_id": event.order_id, "status": None}
        foreign |= {"seen": {}, "executions": []}
        entry = self._ledger.entries.get(key or "", foreign)
        status, place = (
            lean_orders.status_of(event.status, event.message),
            f"{self.algorithm_id}-{event.order_id}",
        )
        seen = entry["seen"].setdefault(place, [])
        if status is None or event.id in seen:
            return
        late = event.id < max(seen, default=0)
        seen.append(int(event.id))
        entry["broker_ids"] = [str(broker_id) for broker_id in order.broker_id]
        at = iso(event.utc_time)
        if status == "canceled" and at >= (entry.get("expires_at") or "9"):
            status = "expired"
        if not late:
            entry["status"] = (entry["status"] or "accepted") if status == "replaced" else status
            entry["reason"] = words(event.message)
        detail: dict[str, Any] = {"event_id": f"{place}-{event.id}", "occurred_at": at}
        detail |= {"status": status, "reason": words(event.message), **self._broker(entry)}
        if status == "replaced" and not late:
            entry["values"] = lean_orders.values_told(event)
            detail |= entry["values"]
            self._replacing.pop(key or "", None)
        if key is None:
            outside = lean_orders.external_of(order, event, detail["broker_order_id"])
            detail |= {} if outside is None else {"external": outside}
        if event.fill_quantity:
            fill = lean_orders.fill_of(event, detail["event_id"])
            entry["executions"].append(fill)
            detail |= {"fill_quantity": fill["quantity"], "fill_price": fill["price"]}
            detail |= {name: fill[name] for name in ("fee", "fee_currency", "exec_id")}
        self._feed.emit("order_event", key, **detail)
        entry["told"] = self._feed.sequence
        if key is not None:
            self._ledger.dirty.add(key)

    def _broker(self, entry: dict[str, Any]) -> dict[str, str | None]:
        ours = None if entry["order_id"] is None else f"{self.algorithm_id}-{entry['order_id']}"
        return {"broker_order_id": next(iter(entry["broker_ids"]), ours)}

    def _heartbeat(self) -> dict[str, Any]:
        held = lean_orders.held_by(self.portfolio)
        return {"status": "Running", **held, "last_sequence": self._feed.sequence}

    def _save(self) -> bool:
        return bool(self._ledger.save_dirty() and self._feed.save())
