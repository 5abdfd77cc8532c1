"""A demo of many traders, each with an account of his own, in the form of demo.toml."""

import shutil
import tomllib
from pathlib import Path

DEMO_DIR = Path(__file__).resolve().parents[2] / "db" / "postgres" / "demo"
FIRST_PROJECT = 5001


def write_load_demo(folder: Path, traders: int) -> Path:
    """Write the configuration, with the market data beside it, where both sides look for it."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in DEMO_DIR.glob("*.csv.gz"):
        shutil.copy(data, folder)
    path = folder / "demo.toml"
    path.write_text(load_demo(traders))
    return path


def load_demo(traders: int) -> str:
    """Return the shipped demo with other people: its instruments and limits stay."""
    shipped = (DEMO_DIR / "demo.toml").read_text()
    market = shipped[shipped.index("[[instrument]]") :]
    text = "".join(_trader(number) for number in range(1, traders + 1)) + market
    tomllib.loads(text)
    return text


def _trader(number: int) -> str:
    return f"""[[account]]
id = {number}
name = "Load {number}"
project_id = {FIRST_PROJECT + number}
opening_cash = "1000000"

[[user]]
email = "load{number}@demo.informania.dev"
role = "trader"
accounts = [{{ name = "Load {number}", can_trade = true }}]

"""
