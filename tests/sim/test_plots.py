from itertools import pairwise

import pytest

from primedht.errors import InvalidArgument
from primedht.sim import panels, plots
from primedht.sim.measures import Measures, Sample, Series, Tally
from primedht.sim.run import run_scenario
from primedht.sim.scenarios import SCENARIOS


@pytest.fixture(scope="module")
def result():
    return run_scenario(SCENARIOS["small"], nodes=2, seed=1, parameters={"values": 2})


@pytest.fixture
def axis():
    from matplotlib.figure import Figure

    return Figure().add_subplot()


def measured(**hops_by_kind):
    measures = Measures(round_trip_s=0.1)
    for kind, hops in hops_by_kind.items():
        measures.samples[kind.replace("__", " with ")] = [
            Sample(0.1 * at, float(at), Tally(40), hop, True) for at, hop in enumerate(hops, start=2)
        ]
    return measures


def test_a_run_becomes_a_picture(result, tmp_path):
    plots.draw(result, tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_run_gives_the_same_file(result, tmp_path):
    for name in ("one.svg", "other.svg"):
        plots.draw(result, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()
    assert result.command in (tmp_path / "one.svg").read_text("utf-8")


def test_a_run_tells_its_phases_and_messages_over_time(result):
    timeline = result.measures.timeline
    assert next(phase for _, phase, _ in timeline if phase != "building") == "1 node"
    assert timeline[-1][1] == "2 nodes"
    assert all(one[0] <= other[0] and one[2] <= other[2] for one, other in pairwise(timeline))
    assert 0 < timeline[-1][2] <= sum(result.messages_by_type.values())


@pytest.mark.parametrize("name", ["out.xyz", "out", "absent/out.png"])
def test_what_cannot_be_written_is_refused(result, tmp_path, name):
    with pytest.raises(InvalidArgument, match="out"):
        plots.draw(result, tmp_path / name)


def test_matplotlib_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    with pytest.raises(InvalidArgument, match="charts"):
        plots.require_matplotlib()


def test_a_kind_has_one_colour_and_its_variant_has_it_too():
    styles = panels.styles(measured(get=[1], lookup=[1], get__dead=[1], odd=[1], **{"warm-up": [1]}))
    assert list(styles) == ["get", "get with dead", "lookup", "odd"]
    assert styles["get"].colour == styles["get with dead"].colour
    assert len({style.colour for style in styles.values()}) == 3
    assert [kind for kind, style in styles.items() if style.varied] == ["get with dead"]


def test_a_latency_curve_starts_at_no_operation_at_all(axis):
    measures = measured(get=[1, 1])
    panels.draw_latency(axis, measures=measures, kinds=panels.styles(measures))
    xs, ys = axis.lines[0].get_data()
    assert (xs[0], ys[0], ys[-1]) == (2.0, 0.0, 1.0)


def test_hops_are_shown_of_kinds_that_have_any(axis):
    measures = measured(find_providers=[0, 0], get=[0, 1, 1, 2], provide=[0, 0, 1])
    kinds = panels.styles(measures)
    assert panels.hop_kinds(measures, kinds) == ["get"]
    panels.draw_hops(axis, measures=measures, kinds=kinds)
    assert [text.get_text() for text in axis.texts] == ["1 hop\n67%", "2 hops\n33%"]


def test_points_at_whole_places_have_whole_ticks(axis):
    series = Series("nodes", "round trips", [(2.0, 5.0), (3.0, 10.0), (3.0, 11.0)], limit=4)
    panels.draw_series(axis, title="Newcomers", series=series)
    assert all(float(tick).is_integer() for tick in axis.get_xticks())
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("nodes", "round trips")
    assert list(axis.lines[1].get_ydata()) == [5.0, 10.5]


def test_boxes_lie_within_their_panel(axis):
    measures = measured(put=[1, 1], get=[1, 1])
    panels.draw_messages(axis, measures=measures, kinds=panels.styles(measures))
    left, right = axis.get_xlim()
    assert left < 40 < 0.95 * right


@pytest.mark.parametrize(("share", "text"), [(1, "100%"), (0.99999, "over 99.99%"), (0.5, "50.00%")])
def test_only_all_is_100_percent(share, text):
    assert panels.percent(share) == text
