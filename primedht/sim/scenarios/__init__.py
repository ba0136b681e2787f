"""Every scenario by name; each is one module here."""

from __future__ import annotations

from primedht.sim.run import Scenario
from primedht.sim.scenarios import adversaries, churn, dead, eclipse, partition, provide, small, static

_MODULES = (static, dead, small, churn, partition, adversaries, eclipse, provide)

SCENARIOS: dict[str, Scenario] = {module.SCENARIO.name: module.SCENARIO for module in _MODULES}
