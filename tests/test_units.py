"""Durations and sizes, as the configuration and the command line take them."""

from datetime import timedelta

import pytest

from primedht.errors import InvalidArgument
from primedht.units import format_count, format_date, format_duration, format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("48h", 172800.0),
        ("1h30m", 5400.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("7", 7.0),
        (90, 90.0),
        (timedelta(minutes=2), 120.0),
        (" 2 d ", 172800.0),
    ],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1s", "1y", "1h30", "nan", "inf", "1e3", True, "1" * 400])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("10GiB", 10 << 30), ("1.5 KiB", 1536), ("2MB", 2_000_000), ("512", 512), (42, 42), ("8k", 8192)],
)
def test_sizes(text: object, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 XB", "1GiBs", True])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(InvalidArgument):
        parse_size(text)


def test_what_people_read() -> None:
    assert [format_duration(each) for each in (0.5, 12, 185, 7440, 442_800)] == [
        "500ms", "12s", "3m5s", "2h4m", "5d3h",
    ]  # fmt: skip
    assert [format_size(each) for each in (812, 65536, 1.5 * 2**30)] == ["812 B", "64.0 KiB", "1.5 GiB"]
    assert [format_count(each, "block") for each in (0, 1, 2, 1000)] == [
        "0 blocks", "1 block", "2 blocks", "1,000 blocks",
    ]  # fmt: skip
    assert format_date(1_763_870_000.9) == "2025-11-23 03:53:20"
