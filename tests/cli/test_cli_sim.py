"""`primedht sim` as people call it."""

import json
import subprocess
import sys


def sim(*arguments):
    command = [sys.executable, "-m", "primedht.cli", "sim", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_run_prints_what_was_measured(tmp_path):
    picture = tmp_path / "out.png"
    ran = sim("--nodes", "3", "--scenario", "small", "--seed", "2", "--plot", str(picture))
    assert ran.returncode == 0, ran.stderr
    for word in ("OPERATION", "RTTS", "success rate", "100.0000% of 1", "load per node", "digest"):
        assert word in ran.stdout
    assert picture.stat().st_size > 10_000


def test_json_has_the_stable_fields():
    ran = sim("--nodes", "2", "--scenario", "small", "--json", "--set", "values=3")
    shown = json.loads(ran.stdout)
    assert shown["success_rate"] == 1.0
    assert shown["reads"] >= 1000
    assert shown["parameters"]["values"] == 3


def test_a_failed_check_is_status_1_and_says_how_to_replay():
    arguments = ["--nodes", "12", "--scenario", "churn", "--duration", "10s"]
    arguments += ["--set", "success_min=2", "--set", "reads=50"]
    ran = sim(*arguments)
    assert ran.returncode == 1
    assert "FAILED:" in ran.stdout
    assert "simulation_failed" in ran.stderr
    assert (
        "primedht sim --nodes 12 --scenario churn --seed 1 --duration 10s --set success_min=2" in ran.stderr
    )


def test_mistakes_are_refused_before_anything_runs():
    for arguments, word in (
        (("--scenario", "nonsense"), "static"),
        (("--set", "median"), "NAME=NUMBER"),
        (("--set", "median=much"), "much"),
        (("--scenario", "small", "--set", "median=3"), "median"),
        (("--plot", "out.xyz"), "out.png"),
        (("--plot", "absent/out.png"), "absent"),
    ):
        ran = sim(*arguments)
        assert ran.returncode == 2, ran.stderr
        assert word in ran.stderr


def test_scenarios_are_listed():
    listed = sim("--scenario", "list").stdout
    assert "static" in listed
    assert "median=3600" in listed
