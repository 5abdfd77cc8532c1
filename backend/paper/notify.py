"""Webhooks: posted in order by a thread of their own, once each, whatever the reply."""

import json
import logging
from queue import Empty, Queue
from threading import Event, Thread

import httpx

from paper.faults import Faults, Kind

log = logging.getLogger("paper.notify")
QUEUE_MAX = 1_000
TIMEOUT_S = 5.0
Webhook = tuple[str, str, dict[str, str]]


class Notify:
    """LEAN's notification manager as far as webhooks go: fire and forget."""

    def __init__(self, faults: Faults, project_id: int) -> None:
        self._faults, self._project_id = faults, project_id
        self._held: list[Webhook] = []
        self._queue: Queue[Webhook] = Queue(QUEUE_MAX)
        self._stop, self._retired = Event(), Event()
        self._late: Webhook | None = None
        self._ok = True
        self._thread = Thread(target=self._run, name=f"webhooks-{project_id}", daemon=True)
        self._thread.start()

    def web(self, address: str, data: str, headers: dict[str, str]) -> bool:
        """Take a webhook on; False when too many wait, as LEAN answers beyond its quota."""
        if self._queue.qsize() + len(self._held) >= QUEUE_MAX or self._hits("webhook_quota", data):
            return False
        self._held.append((address, data, headers))
        return True

    def release(self) -> None:
        """Let go what was taken on; the engine calls it when what it tells is on disk."""
        for webhook in self._held:
            self._queue.put_nowait(webhook)
        self._held.clear()

    def retire(self) -> None:
        """Stop when all that was released has been posted."""
        self._retired.set()

    def close(self) -> None:
        """Stop within one time-out; what waits is lost, as it is when LEAN stops."""
        self._stop.set()
        self._thread.join(TIMEOUT_S + 1)

    def _run(self) -> None:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    webhook = self._queue.get(timeout=0.2)
                except Empty:
                    if self._retired.is_set():
                        return
                    continue
                for each in self._deliveries(webhook):
                    self._post(client, each)

    def _deliveries(self, webhook: Webhook) -> list[Webhook]:
        """What really leaves, after the faults: nothing, one, two, or two in the wrong order."""
        late, self._late = self._late, None
        after = [] if late is None else [late]
        if self._hits("lost_webhook", webhook[1]):
            return after
        if self._hits("out_of_order", webhook[1]):
            self._late = webhook
            return after
        twice = self._hits("duplicate_event", webhook[1])
        return [webhook, *([webhook] if twice else []), *after]

    def _hits(self, kind: Kind, data: str) -> bool:
        """Say whether a fault hits this webhook; one without events is never hit."""
        ids = [str(event["client_order_id"]) for event in json.loads(data)["events"]]
        return bool(ids) and self._faults.take(kind, ids, self._project_id) is not None

    def _post(self, client: httpx.Client, webhook: Webhook) -> None:
        address, data, headers = webhook
        try:
            status = client.post(address, content=data.encode(), headers=headers).status_code
        except httpx.HTTPError as error:
            self._tell(False, type(error).__name__)
        else:
            self._tell(status < 300, str(status))

    def _tell(self, ok: bool, what: str) -> None:
        """Log only changes: a receiver that is down is not news each second."""
        if ok != self._ok:
            log.warning("webhooks %s: %s", "arrive again" if ok else "fail", what)
        self._ok = ok
