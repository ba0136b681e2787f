import pytest

from primedht.errors import InvalidArgument
from primedht.sim import plots
from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def result():
    return run_scenario(SCENARIOS["small"], nodes=2, seed=1, parameters={"values": 2})


def test_a_run_becomes_a_picture(result, tmp_path):
    plots.draw(result, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_format_is_refused(result, tmp_path):
    with pytest.raises(InvalidArgument, match=r"out\.xyz"):
        plots.draw(result, tmp_path / "out.xyz")


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(InvalidArgument, match="charts"):
        plots.require_matplotlib()
