"""Nothing is lost and nothing doubled, whatever is killed; and the proof can fail."""

import pytest
from harness import How, Variant, campaign

pytestmark = [pytest.mark.crash, pytest.mark.platform, pytest.mark.xdist_group("platform")]


@pytest.mark.timeout(1800)
async def test_no_order_is_lost_or_doubled_while_processes_are_killed() -> None:
    runs = await campaign(How(seeds=[1, 2, 3]))
    assert [breach for run in runs for breach in run.breaches] == []
    assert sum(run.crashes.total() for run in runs) >= 50, "too few kills to prove anything"
    assert {Variant.of(run.seed).dedupes for run in runs} == {True, False}
    assert any(run.take_overs_s.get("stalled") for run in runs), "nobody took over"


@pytest.mark.timeout(600)
async def test_the_proof_catches_a_worker_that_sends_blindly() -> None:
    runs = await campaign(How(seeds=[31], orders=30, probability=0.3, control=True))
    doubled = [breach for run in runs for breach in run.breaches if "at the venue" in breach]
    assert doubled, "the control sent blindly and nothing was doubled: the proof proves nothing"
