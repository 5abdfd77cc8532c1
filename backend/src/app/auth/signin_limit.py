"""How often somebody may guess a password: a bucket per address and one per account.

Only failures count. An attempt takes its place at once, so that guesses sent together do not all
slip through, and a success gives it back, so that an office behind one address can sign in at nine
o'clock. A bucket refills evenly over a minute.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic

from app.core.errors import TooManyRequests

BUCKETS_MAX = 20_000
# What one customer of an IPv6 provider may move about in.
IPV6_PREFIX_BITS = 64


class SigninLimit:
    """Remembers recent failures, the oldest forgotten first when there are too many."""

    def __init__(self, per_minute: int) -> None:
        self.start_anew(per_minute)

    def start_anew(self, per_minute: int) -> None:
        """Forget everything and allow so many failures a minute."""
        self._per_minute = per_minute
        # Key -> what is left, and as of when.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, *keys: str) -> None:
        """Count one attempt for each key, or refuse it and say when to come again."""
        left = {key: self._left(key) for key in keys}
        emptiest = min(left.values())
        if emptiest < 1:
            seconds = ceil((1 - emptiest) * 60 / self._per_minute)
            raise TooManyRequests(
                "Too many attempts to sign in.", headers={"Retry-After": str(max(seconds, 1))}
            )
        for key, tokens in left.items():
            self._put(key, tokens - 1)

    def give_back(self, *keys: str) -> None:
        """Take back an attempt that was no failure."""
        for key in keys:
            self._put(key, min(self._left(key) + 1, self._per_minute))

    def _left(self, key: str) -> float:
        now = monotonic()
        tokens, since = self._buckets.get(key, (float(self._per_minute), now))
        return min(tokens + (now - since) * self._per_minute / 60, self._per_minute)

    def _put(self, key: str, tokens: float) -> None:
        self._buckets[key] = (tokens, monotonic())
        self._buckets.move_to_end(key)
        while len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)


def address_key(host: str | None) -> str:
    """Name the bucket of an address; an IPv6 customer is one address."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return f"address:{host}"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return f"address:{int(address) >> (128 - IPV6_PREFIX_BITS):x}"
    return f"address:{address}"


def account_key(email: str) -> str:
    """Name the bucket of an account, as the core would look it up."""
    return f"account:{email.strip().lower()}"
