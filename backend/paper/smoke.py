"""A backtest as far as it helps: does the algorithm start, and take data, on a venue of its own?"""

import secrets
import tempfile
import traceback
from decimal import Decimal
from pathlib import Path
from typing import Any

from paper.algorithm_imports import load_algorithm
from paper.charts import EquityChart
from paper.cloud import stamp
from paper.engine import Deployment
from paper.faults import Faults
from paper.object_store import ObjectStore
from paper.qc_json import Json, order_json
from paper.settings import Account, Demo, Settings
from paper.venue import Venue

STEPS = 30
CASH = 100_000


class Mute:
    """Notifications leave in live mode only."""

    def web(self, address: str, data: str, headers: dict[str, str]) -> bool:
        """Take it, and send nothing."""
        return True


class Smoke:
    """Runs algorithms for a few time slices, apart from everything that is live."""

    def __init__(self, settings: Settings, demo: Demo) -> None:
        self._settings, self._demo = settings, demo
        self._orders: dict[str, list[Json]] = {}
        self._charts: dict[str, EquityChart] = {}

    def run(
        self, project_id: int, files: dict[str, str], name: str, parameters: dict[str, str]
    ) -> Json:
        """Return the backtest as it is when it has ended, well or not."""
        backtest_id = secrets.token_hex(16)
        error: BaseException | None = None
        facts: dict[str, Any] = {"orders": [], "statistics": {}, "chart": EquityChart()}
        with tempfile.TemporaryDirectory() as folder:
            try:
                facts = self._steps(Path(folder), project_id, files, parameters, backtest_id)
            except Exception as raised:
                error = raised
        self._orders[backtest_id] = facts["orders"]
        self._charts[backtest_id] = facts["chart"]
        text = None if error is None else "".join(traceback.format_exception_only(error)).strip()
        return {
            "backtestId": backtest_id,
            "projectId": project_id,
            "name": name,
            "note": None,
            "created": stamp(),
            "completed": True,
            "progress": 1.0,
            "status": "Completed." if error is None else "Runtime Error",
            "error": text,
            "stacktrace": None if error is None else _trace(error),
            "statistics": {"Total Orders": str(len(facts["orders"]))},
            "runtimeStatistics": facts["statistics"],
            "totalPerformance": None,
            "charts": {},
            "parameterSet": parameters,
        }

    def orders(self, backtest_id: str) -> list[Json]:
        """Return what a backtest has traded."""
        return self._orders.get(backtest_id, [])

    def chart(self, backtest_id: str) -> EquityChart:
        """Return what a backtest's account was worth."""
        return self._charts.get(backtest_id) or EquityChart()

    def _steps(
        self,
        folder: Path,
        project_id: int,
        files: dict[str, str],
        parameters: dict[str, str],
        backtest_id: str,
    ) -> dict[str, Any]:
        code = folder / "code"
        code.mkdir()
        for name, content in files.items():
            (code / name).write_text(content)
        settings = self._settings.model_copy(update={"paper_state_dir": folder / "state"})
        demo = Demo(
            (Account(project_id, "backtest", Decimal(CASH)),),
            self._demo.instruments,
            self._demo.bars_path,
        )
        faults = Faults()
        venue = Venue(settings, demo, faults)
        store = ObjectStore(folder / "objects")
        try:
            venue.advance()
            algorithm = load_algorithm(code / "main.py", f"backtest_{backtest_id}")()
            algorithm._deploy(
                venue, project_id=project_id, algorithm_id=backtest_id, parameters=parameters,
                object_store=store, notify=Mute(), live_mode=False,
            )  # fmt: skip
            algorithm.initialize()
            deployment = Deployment(project_id, algorithm, venue, faults)
            for _ in range(STEPS):
                deployment.step(ticked=True)
            orders = [order_json(it, backtest_id, tag=it.tag) for it in venue.orders(project_id)]
            statistics = dict(algorithm.runtime_statistics)
            return {"orders": orders, "statistics": statistics, "chart": deployment.chart}
        finally:
            store.close()
            venue.close()


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__))
