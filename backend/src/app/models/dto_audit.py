"""What is asked of the audit log over HTTP, and what it answers."""

from app.models.dto import Identifier, Inbound, Outbound


class AuditVerify(Inbound):
    """Which chain; without an account every one, the system's too."""

    account_id: Identifier | None = None


class ChainBroken(Outbound):
    """The first row of a chain that is not as it was."""

    # 0 is the system's, which belongs to no account.
    account_id: str
    broken_seq: str
    why: str


class AuditVerified(Outbound):
    """What verifying found; whole when nothing is listed."""

    chains: int
    rows: int
    seconds: float
    broken: list[ChainBroken]


class AnchorProof(Outbound):
    """A signed Merkle root, and the path from the account's head to it (RFC 6962)."""

    statement: str
    signature: str
    public_key: str
    leaf: str
    index: int
    path: list[str]


class OrderHistory(Outbound):
    """An order's links of the audit chain, checkable by anybody; see docs/audit.md."""

    format: str
    order_id: str
    account_id: str
    # The numbers of the links that are about the order.
    rows: list[int]
    # The hash before the first link.
    previous: str
    links: list[str]
    # Null until the first anchor after the order.
    anchor: AnchorProof | None
