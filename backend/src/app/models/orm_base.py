"""The base of the mapped tables, and the kinds of columns they share."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.types import UserDefinedType

Small = Annotated[int, mapped_column(SmallInteger)]
Medium = Annotated[int, mapped_column(Integer)]
Key = Annotated[int, mapped_column(BigInteger, Identity(always=True), primary_key=True)]
AccountRef = Annotated[int, mapped_column(ForeignKey("app.accounts.account_id"))]
AccountKey = Annotated[int, mapped_column(ForeignKey("app.accounts.account_id"), primary_key=True)]
InstrumentRef = Annotated[int, mapped_column(Integer, ForeignKey("app.instruments.instrument_id"))]
InstrumentKey = Annotated[
    int, mapped_column(Integer, ForeignKey("app.instruments.instrument_id"), primary_key=True)
]
StreamRef = Annotated[int, mapped_column(ForeignKey("app.streams.stream_id"))]
OrderRef = Annotated[int, mapped_column(ForeignKey("app.orders.order_id"))]
TextKey = Annotated[str, mapped_column(Text, primary_key=True)]
MomentKey = Annotated[datetime, mapped_column(DateTime(timezone=True), primary_key=True)]


class OpenBound(UserDefinedType[tuple[int, Decimal, Decimal, Decimal | None]]):
    """What open orders bind at most: orders, quantity to buy, to sell, and value, if known."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name the type in SQL."""
        return "app.open_bound"


# By this name what reads tables finds it.
ischema_names["app.open_bound"] = OpenBound


class Base(DeclarativeBase):
    """Base of the mapped tables; constraints are named as Postgres names them."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (read by SQLAlchemy alone)
        int: BigInteger,
        str: Text,
        bytes: LargeBinary,
        Decimal: Numeric,
        UUID: Uuid,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
    }
