"""What a QuantConnect bridge reports: a strict envelope around events that are kept as they are.

Only the envelope is judged here. An event that cannot be understood is kept and found invalid when
it is applied, and a price that cannot be used is left out: one odd item must not hold up the fills
behind it, because a bridge repeats a refused delivery for ever.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from app.models.dto import TEXT_PATTERN, Inbound, MomentText, Outbound

ITEMS_MAX = 1000

DeployId = Annotated[str, StringConstraints(pattern=TEXT_PATTERN, max_length=100)]
Source = Annotated[str, StringConstraints(pattern=r"^qc:[A-Za-z0-9_-]{1,60}$")]
Items = Annotated[list[dict[str, Any]], Field(max_length=ITEMS_MAX)]


class BridgeBatch(Inbound):
    """One signed delivery; unacknowledged events come again with the next one."""

    version: Literal[1]
    source: Source
    deploy_id: DeployId
    epoch: Annotated[int, Field(ge=0, lt=2**53)]
    sent_at: MomentText
    events: Items = Field(default_factory=list)
    quotes: Items = Field(default_factory=list)
    heartbeat: dict[str, Any] | None = None


class Acknowledged(Outbound):
    """The sequence up to which every event is in our database."""

    acknowledged: int
