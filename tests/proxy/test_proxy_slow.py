"""A header that never ends is waited for no longer than ten seconds; looked at after all else."""

import threading

import pytest
from proxy.conftest import Open

pytestmark = pytest.mark.xdist_group("proxy")

AT_LEAST_S, AT_MOST_S = 9.0, 14.0


def test_a_header_that_never_ends_is_given_up(
    kind: str, open_one: Open, slow_headers: dict[str, tuple[threading.Thread, list[float]]]
) -> None:
    open_one(kind)
    thread, took = slow_headers[kind]
    thread.join(AT_MOST_S)
    assert len(took) == 1
    assert AT_LEAST_S < took[0] < AT_MOST_S
