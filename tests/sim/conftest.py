"""A network of bare hosts for the tests of the simulator's own ports."""

import pytest
from sim_lab import ONE_WAY_S, Lab, Listener

from primedht.sim.faults import ConstantLatency, Links
from primedht.sim.network import open_network


@pytest.fixture
async def lab(autojump_clock):
    async with open_network(Links(ConstantLatency(ONE_WAY_S)), seed=1) as network:
        yield Lab(network)


@pytest.fixture
def listener():
    return Listener()
