"""No question of the screen reads a large table from end to end, and none is forgotten."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest
from bench.desk import SCRIPT, TRADER, administrator, asked_by, everything, freshen
from bench.readers import CASES, Asked, readers, statement
from bench.reading import Reader, as_user, large_relations, plans, reader, scans
from bench.templates import fill
from fixtures_postgres import Cluster

# Both tests of one desk run in one process.
pytestmark = pytest.mark.xdist_group("read_plans")

DATABASE = "read_plans"
# What a server thinks that has many cores to spare.
WORKERS_ARE_CHEAP = (
    "SELECT set_config(name, '0', FALSE) FROM unnest(ARRAY["
    "'parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size',"
    " 'min_parallel_index_scan_size']) AS name"
)
# Large enough for the planner to care.
SIZES = {"accounts": 250, "users": 50, "orders": 30_000, "bars": 50_000, "samples": 100}


@dataclass(frozen=True)
class Desk:
    """A filled desk, its superuser, one of its traders, and who may see all of it."""

    root: psycopg.Connection
    trader: Reader
    asked: Asked
    admin: Reader
    everything: Asked
    large: set[str]

    def scanned(self, name: str) -> set[str]:
        """Return the large tables that a question reads from end to end."""
        found = plans(self.root, self.trader, statement(CASES[name], self.asked))
        assert found
        return set(scans(found)) & self.large


@pytest.fixture(scope="module")
def desk(cluster: Cluster) -> Iterator[Desk]:
    cluster.create_database(DATABASE)
    try:
        with (
            cluster.settings(DATABASE).connect("postgres") as root,
            reader(cluster, DATABASE, "app_read", TRADER) as trader,
        ):
            fill(root, SCRIPT, SIZES)
            freshen(root)
            asked = asked_by(root, TRADER)
            admin = as_user(cluster, trader, administrator(root))
            yield Desk(root, trader, asked, admin, everything(root, asked), large_relations(root))
    finally:
        cluster.drop_database(DATABASE)


def test_every_reader_of_the_screen_is_measured() -> None:
    missing = readers() - {case.reader for case in CASES.values()}
    assert not missing, f"add to CASES of tests/bench/readers.py: {sorted(missing)}"
    assert len(readers()) >= 12


def test_no_plan_scans_a_large_table(desk: Desk) -> None:
    assert {"orders", "executions", "order_events", "audit_log"} <= desk.large
    assert any(name.startswith("bars") for name in desk.large)
    scanned = {name: desk.scanned(name) for name in CASES}
    assert {name: tables for name, tables in scanned.items() if tables} == {}
    silent = {it for it in CASES if not desk.trader.read(statement(CASES[it], desk.asked))[0]}
    # The trader who asks here has no right to the audit log.
    silent -= {"audit_extract_30_days"}
    assert not silent, "a question without rows says little of its plan"


@pytest.mark.parametrize("name", ["orders", "orders_refused", "executions"])
def test_what_is_newest_of_all_accounts_is_read_from_an_end(desk: Desk, name: str) -> None:
    assert len(desk.everything.account_ids) == SIZES["accounts"]
    found = str(plans(desk.root, desk.admin, statement(CASES[name], desk.everything)))
    assert "'Limit'" in found
    # Whoever sorts has read all of a past first.
    assert "'Sort'" not in found


def test_who_may_see_all_is_answered_where_workers_are_cheap(desk: Desk) -> None:
    # What is kept of a token is a setting, and none may change while several read together.
    desk.admin.connection.execute(WORKERS_ARE_CHEAP)
    try:
        for case in CASES.values():
            assert desk.admin.read(statement(case, desk.everything))[0]
    finally:
        desk.admin.connection.rollback()


@pytest.mark.parametrize("name", CASES)
def test_no_question_gives_nobody_a_row(desk: Desk, name: str) -> None:
    for token in ("", desk.trader.token[:-1]):
        with pytest.raises(RuntimeError, match="does not believe"):
            replace(desk.trader, token=token).read(statement(CASES[name], desk.asked))


# The last two look inside of functions.
@pytest.mark.parametrize(
    ("name", "table"),
    [("orders", "orders"), ("executions", "executions"), ("timeline", "order_events"),
     ("bars_year", "bars")],
)  # fmt: skip
def test_a_scan_is_seen_where_no_index_may_be_used(desk: Desk, name: str, table: str) -> None:
    methods = ("indexscan", "indexonlyscan", "bitmapscan")
    for method in methods:
        desk.root.execute(f"SET enable_{method} = off")
    try:
        assert any(it.startswith(table) for it in desk.scanned(name))
    finally:
        for method in methods:
            desk.root.execute(f"RESET enable_{method}")
