"""The Merkle tree against the vectors of Certificate Transparency, and proofs that must fail."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.audits.merkle import path_of, root_from, root_of

# The leaves and roots that the implementations of RFC 6962 share.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)

leaves_and_index = st.lists(st.binary(max_size=8), min_size=1, max_size=40).flatmap(
    lambda leaves: st.tuples(st.just(leaves), st.integers(0, len(leaves) - 1))
)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_the_rfc(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root_of([]) == sha256(b"").digest()


@given(leaves_and_index)
def test_every_leaf_is_proved(case: tuple[list[bytes], int]) -> None:
    leaves, index = case
    path = path_of(index, leaves)
    assert root_from(leaves[index], index, len(leaves), path) == root_of(leaves)


@given(leaves_and_index, st.binary(max_size=8), st.integers(-1, 41), st.integers(0, 5))
def test_no_other_leaf_place_or_path_is_proved(
    case: tuple[list[bytes], int], other: bytes, place: int, cut: int
) -> None:
    leaves, index = case
    root, path, size = root_of(leaves), path_of(index, leaves), len(leaves)
    if other != leaves[index]:
        assert root_from(other, index, size, path) != root
    if not 0 <= place < size or leaves[place] != leaves[index]:
        assert root_from(leaves[index], place, size, path) != root
    if path:
        assert root_from(leaves[index], index, size, path[: min(cut, len(path) - 1)]) != root
    assert root_from(leaves[index], index, size, [*path, root]) != root
    with pytest.raises(IndexError):
        path_of(size, leaves)
