"""The hash of HAMT directories, against values of smhasher's MurmurHash3_x64_128, seed 0."""

import pytest

from primedht.blocks.murmur3 import murmur3_x64_64


@pytest.mark.parametrize(
    ("text", "first_64_bits"),
    [
        (b"", "0000000000000000"),
        (b"hello", "cbd8a7b341bd9b02"),
        (b"hello, world", "342fac623a5ebc8e"),
        (b"19 Jan 2038 at 3:14:07 AM", "b89e5988b737affc"),
        (b"The quick brown fox jumps over the lazy dog.", "cd99481f9ee902c9"),
    ],
)
def test_it_is_the_published_hash(text: bytes, first_64_bits: str) -> None:
    assert murmur3_x64_64(text).hex() == first_64_bits
