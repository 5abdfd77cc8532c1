"""An order's history as somebody outside can check it: the links, and the proof of their anchor."""

from __future__ import annotations

import json
from typing import Any

from app.audits.anchors import read_anchor

FORMAT = "informania.audit.order.v1"


def order_history(order_id: int, found: Any) -> dict[str, Any]:
    """Shape a row of sp_audit_export; docs/audit.md describes each field and checks it."""
    account_id = int(found["account_id"])
    proof = None
    if found["statement"] is not None:
        anchor = read_anchor(
            found["statement"],
            found["signature"],
            found["public_key"],
            json.loads(found["heads"]),
        )
        proof = anchor.proof(account_id)
    links: list[str] = list(found["links"] or ())
    return {
        "format": FORMAT,
        "order_id": str(order_id),
        "account_id": str(account_id),
        "rows": [seq for link in links if (seq := _seq_of(link, str(order_id)))],
        "previous": (found["previous"] or b"").hex(),
        "links": links,
        "anchor": proof,
    }


def _seq_of(link: str, order_id: str) -> int | None:
    """Return a link's number when it is of this order."""
    _, seq, _, _, _, _, detail = json.loads(link)
    named = isinstance(detail, dict) and str(detail.get("order_id")) == order_id
    return int(seq) if named else None
