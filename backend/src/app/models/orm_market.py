"""Maps prices, rates, the exchange's calendar and the time series."""

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from app.models.orm_base import AccountKey, Base, InstrumentKey, MomentKey, TextKey


class LastPrice(Base):
    """The mark of an instrument."""

    __tablename__ = "last_prices"
    __table_args__ = {"schema": "market"}  # noqa: RUF012
    instrument_id: Mapped[InstrumentKey]
    price: Mapped[Decimal]
    source: Mapped[str]
    source_at: Mapped[datetime]
    received_at: Mapped[datetime]


class FxRate(Base):
    """What one unit of a currency was in another on a day."""

    __tablename__ = "fx_rates"
    __table_args__ = {"schema": "market"}  # noqa: RUF012
    quote: Mapped[TextKey]
    base: Mapped[TextKey]
    rate_date: Mapped[date] = mapped_column(primary_key=True)
    rate: Mapped[Decimal]
    source: Mapped[str]
    original_date: Mapped[date | None]


class MarketSession(Base):
    """A day on which an exchange trades."""

    __tablename__ = "calendar"
    __table_args__ = {"schema": "market"}  # noqa: RUF012
    exchange: Mapped[TextKey]
    session_date: Mapped[date] = mapped_column(primary_key=True)
    opens_at: Mapped[datetime]
    closes_at: Mapped[datetime]
    early_close: Mapped[bool]


class Bar(Base):
    """Open, high, low, close and volume of a span."""

    __tablename__ = "bars"
    __table_args__ = (
        Index("bars_time_idx", "bar_at", postgresql_using="brin"),
        {"schema": "market"},
    )
    instrument_id: Mapped[InstrumentKey]
    resolution: Mapped[TextKey]
    bar_at: Mapped[MomentKey]
    open: Mapped[Decimal]
    high: Mapped[Decimal]
    low: Mapped[Decimal]
    close: Mapped[Decimal]
    volume: Mapped[Decimal]
    source: Mapped[str]
    original_date: Mapped[date | None]


class Quote(Base):
    """A sampled price."""

    __tablename__ = "quotes"
    __table_args__ = (
        Index("quotes_time_idx", "quote_at", postgresql_using="brin"),
        {"schema": "market"},
    )
    instrument_id: Mapped[InstrumentKey]
    quote_at: Mapped[MomentKey]
    price: Mapped[Decimal]
    source: Mapped[str]


class Equity(Base):
    """What an account was worth."""

    __tablename__ = "equity"
    __table_args__ = (
        Index("equity_time_idx", "equity_at", postgresql_using="brin"),
        {"schema": "market"},
    )
    account_id: Mapped[AccountKey]
    equity_at: Mapped[MomentKey]
    currency: Mapped[TextKey]
    cash: Mapped[Decimal]
    market_value: Mapped[Decimal]
