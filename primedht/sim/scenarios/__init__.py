"""Every scenario by name; each is one module here."""

from __future__ import annotations

from primedht.sim.run import Scenario
from primedht.sim.scenarios import churn, small, static

SCENARIOS: dict[str, Scenario] = {module.SCENARIO.name: module.SCENARIO for module in (static, small, churn)}
