"""Keeps the process quick: imports ahead of the first user, and garbage collected off the path."""

import asyncio
import gc
from importlib import import_module

COLLECT_INTERVAL_S = 60.0
# What the first page would import while its user waits.
HEAVY = (
    "numpy",
    "orjson",
    "pandas",
    "plotly.graph_objects",
    "plotly.io",
    "pyarrow",
    "psycopg_pool",
)


def warm_up() -> None:
    """Import what is heavy, then take all of it out of the collector's sight.

    A full collection walks every object there is. With the modules frozen it walks only what
    pages made, which is a tenth of the work.
    """
    for name in HEAVY:
        import_module(name)
    gc.collect()
    gc.freeze()


async def collect_garbage() -> None:
    """Collect every minute until canceled, instead of after each run of a page."""
    while True:
        await asyncio.sleep(COLLECT_INTERVAL_S)
        gc.collect()
