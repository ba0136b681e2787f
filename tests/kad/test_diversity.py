"""IP groups, and how many peers one may have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_keyspace import peer

from primedht.kad.diversity import IpDiversity, ip_group, without_crowded_groups

Entry = tuple[str, ...]


def addresses(entry: Entry) -> Entry:
    return entry


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9.9.1.1", "9.9.254.254"),
        ("17.1.1.1", "17.200.1.1"),
        ("2600:1::1", "2600:1:ffff::1"),
        ("9.9.1.1", "::ffff:9.9.3.4"),
        ("9.9.1.1", "2002:909:101::1"),
    ],
)
def test_the_same_group(one: str, other: str) -> None:
    assert ip_group(one) is not None
    assert ip_group(one) == ip_group(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("9.9.1.1", "9.8.1.1"), ("17.1.1.1", "18.1.1.1"), ("2600:1::1", "2600:2::1"), ("9.9.1.1", "2600::")],
)
def test_different_groups(one: str, other: str) -> None:
    assert ip_group(one) != ip_group(other)


@pytest.mark.parametrize(
    "ip", ["10.0.0.1", "127.0.0.1", "192.168.1.1", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "fd00::1",
           "100.64.0.1", "", "x", "1.2.3.4.5", "::ffff:10.0.0.1", "fe80::1%eth0"]
)  # fmt: skip
def test_an_address_that_is_not_public_has_no_group(ip: str) -> None:
    assert ip_group(ip) is None


@given(st.text(max_size=50))
def test_any_text_is_borne(text: str) -> None:
    ip_group(text)


def test_peers_without_a_public_address_enter_by_option_only() -> None:
    assert not IpDiversity().allows(0, ["10.0.0.1"])
    assert not IpDiversity().allows(0, [])
    assert IpDiversity(without_public_ip=True).allows(0, ["10.0.0.1"])


def test_every_group_of_a_peer_needs_room() -> None:
    diversity = IpDiversity(peers_per_group_max=1, peers_per_group_and_cpl_max=1)
    diversity.add(peer(1), 0, ["9.9.0.1", "8.8.0.1"])
    assert not diversity.allows(1, ["7.7.0.1", "8.8.0.2"])
    diversity.remove(peer(1))
    assert diversity.allows(1, ["7.7.0.1", "8.8.0.2"])


def test_several_addresses_in_a_group_count_once() -> None:
    diversity = IpDiversity()
    diversity.add(peer(1), 0, [f"9.9.0.{n}" for n in range(9)])
    assert diversity.allows(0, ["9.9.0.77"])


def test_a_peer_that_never_entered_may_leave() -> None:
    IpDiversity().remove(peer(1))


def test_behaviour_42_who_crowds_a_reply_loses_all_there() -> None:
    """Behaviour 42, FilterPeersByIPDiversity."""
    crowd: list[Entry] = [(f"9.9.0.{n}",) for n in range(4)]
    fair: list[Entry] = [(f"8.8.0.{n}",) for n in range(3)]
    private: list[Entry] = [(f"10.0.0.{n}",) for n in range(9)]
    assert without_crowded_groups([*crowd, *fair, *private], addresses) == [*fair, *private]


def test_behaviour_42_one_crowded_address_is_enough_to_lose() -> None:
    crowd: list[Entry] = [("8.1.0.1", "9.9.0.1"), ("8.2.0.1", "9.9.0.2"), ("9.9.0.3",)]
    other: Entry = ("8.2.0.9",)
    assert without_crowded_groups([*crowd, other], addresses, peers_per_group_max=2) == [other]
    assert without_crowded_groups([*crowd, other], addresses) == [*crowd, other]
