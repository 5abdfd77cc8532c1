"""What the numbers of Interactive Brokers prove, and what they do not."""

import pytest

from app.services import ibkr_codes
from app.services.ibkr_codes import Verdict
from app.services.ibkr_messages import split_exec_id


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (201, Verdict.REJECT),
        (110, Verdict.REJECT),
        (103, Verdict.REJECT),
        (202, Verdict.CANCELED),
        (10148, Verdict.CANCEL_REFUSED),
        (10147, Verdict.CANCEL_UNMATCHED),
        (399, Verdict.WARNING),
        (2109, Verdict.WARNING),
        (321, Verdict.UNKNOWN),
        (100, Verdict.UNKNOWN),
        (4242, Verdict.UNKNOWN),
    ],
)
def test_only_listed_numbers_prove_anything(code: int, verdict: Verdict) -> None:
    assert ibkr_codes.verdict_of(code) is verdict


def test_an_execution_id_is_a_stem_and_a_revision() -> None:
    assert split_exec_id("0000e0d5.65a0.01.02") == ("0000e0d5.65a0.01", 2)
    assert split_exec_id("plain") == ("plain", 0)
