"""Where simulated hosts live."""

from primedht.sim.addresses import host_addr, private_ip, public_ip
from primedht.wire import addrs as multiaddrs


def test_simulated_ips_are_distinct_and_public_ones_diverse():
    assert len({private_ip(i) for i in range(10_000)}) == 10_000
    blocks = {tuple(public_ip(i).split(".")[:2]) for i in range(10_000)}
    assert len(blocks) == 10_000
    assert all(multiaddrs.is_public(host_addr(public_ip(i))) for i in range(0, 10_000, 97))
