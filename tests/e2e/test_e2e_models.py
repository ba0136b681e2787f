"""Models between real daemons, through the command line: pushed on one, pulled on another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from model_lab import content, layers, write_model
from processes import Daemon, daemon, one_line_error, wait_until

from primedht.tensors.arrays import load_tensors


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon]]:
    work = tmp_path_factory.mktemp("pair")
    with daemon(work / "a") as a, daemon(work / "b", bootstrap=[a.addr]) as b:
        wait_until(lambda: b.call("ping", a.peer_id).returncode == 0, what="b knows a")
        yield a, b


def test_a_model_goes_from_one_daemon_to_another(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    a, b = pair
    tensors = layers(3) | {"norm": np.arange(4).astype(ml_dtypes.bfloat16)}
    folder = write_model(tmp_path / "m", {"model.safetensors": tensors})
    (tmp_path / "train.json").write_text('{"batch_size": 8, "learning_rate": 0.1}')
    pushed = a.call_json(
        *("model", "push", folder, "--name", "me/llama", "--metadata", "license=MIT"),
        *("--training-config", tmp_path / "train.json"),
    )
    assert (pushed["version"], pushed["architecture"]) == (1, "LlamaForCausalLM")
    assert pushed["training_config"] == {"batch_size": 8, "learning_rate": 0.1}
    assert pushed["parameters_count"] == 3 * 4096 + 4
    assert a.call("ls").stdout.decode().count("model upload") == 0

    unknown = b.call("model", "info", "org/llama")
    assert unknown.returncode == 2
    assert "[unknown_owner]" in one_line_error(unknown)
    assert "primedht alias set org" in one_line_error(unknown)
    assert b.call("alias", "set", "org", a.peer_id).returncode == 0
    assert b.call_json("alias", "ls") == {"alias": "org", "owner": a.peer_id}
    shown = b.call("model", "info", "org/llama").stdout.decode()
    assert "12,292 of LlamaForCausalLM" in shown
    assert "license: MIT" in shown

    pulled = b.call("model", "pull", "org/llama@1", "-o", tmp_path / "out", "--trace")
    assert pulled.returncode == 0, pulled.stderr
    assert str(a.peer_id) in pulled.stdout.decode().splitlines()[1]
    assert content(tmp_path / "out") == content(folder)
    twice = b.call("model", "pull", "org/llama", "-o", tmp_path / "twice", "--trace").stdout.decode()
    assert "all of them were here" in twice
    again = b.call("model", "pull", "org/llama", "-o", tmp_path / "out")
    assert again.returncode == 2
    assert "another path" in one_line_error(again)
    assert "intact" in b.call("model", "verify", "org/llama").stdout.decode()
    assert b.call_json("model", "ls")["name"] == f"{a.peer_id}/llama@1"
    refused = b.call("model", "push", folder, "--name", "org/llama")
    assert "[not_permitted]" in one_line_error(refused)

    (folder / "README.md").write_text("2")
    assert a.call_json("model", "push", folder, "--name", "me/llama", "--version", 5)["version"] == 5
    stale = a.call("model", "push", folder, "--name", "me/llama", "--version", 4)
    assert "[stale_record]" in one_line_error(stale)
    listed = b.call("model", "versions", "org/llama").stdout.decode().splitlines()
    assert [line.split()[0] for line in listed] == ["1", "5"]
    assert b.call("model", "info", "org/llama@3").returncode == 3
    assert a.call_json("model", "rm", "me/llama")["versions"] == 2
    assert b.call("model", "info", "org/llama").returncode == 3
    assert b.call_json("alias", "rm", "org")["was_set"]


def test_a_tensor_is_written_to_a_file(pair: tuple[Daemon, Daemon], tmp_path: Path) -> None:
    a, b = pair
    tensors = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "n": np.arange(4).astype(ml_dtypes.bfloat16),
    }
    folder = write_model(tmp_path / "m", {"model.safetensors": tensors})
    assert a.call("model", "push", folder, "--name", "me/m").returncode == 0
    name = f"{a.peer_id}/m"

    def get(tensor: str, file: str, *more: object) -> Path:
        done = b.call("tensor", "get", name, tensor, "-o", tmp_path / file, *more)
        assert done.returncode == 0, done.stderr
        return tmp_path / file

    np.testing.assert_array_equal(np.load(get("w", "w.npy"), allow_pickle=False), tensors["w"])
    np.testing.assert_array_equal(load_tensors(get("n", "n.safetensors"))["n"], tensors["n"])
    converted = np.load(get("n", "n.npy", "--as", "float32"), allow_pickle=False)
    assert converted.dtype == np.float32
    np.testing.assert_array_equal(converted, np.arange(4))
    bf16 = b.call("tensor", "get", name, "n", "-o", tmp_path / "no.npy")
    assert bf16.returncode == 2
    assert "--as float32" in one_line_error(bf16)
    assert not (tmp_path / "no.npy").exists()
    assert b.call("tensor", "get", name, "none", "-o", tmp_path / "no.npy").returncode == 3
    other = b.call("tensor", "get", name, "w", "-o", tmp_path / "w.bin")
    assert "neither .safetensors nor .npy" in one_line_error(other)


def test_a_model_is_published_as_the_owner_of_a_named_key(
    pair: tuple[Daemon, Daemon], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "m", {"model.safetensors": layers(1)})
    a, _ = pair
    key = json.loads(a.call("key", "new", "release", "--json").stdout)
    pushed = a.call_json("model", "push", folder, "--name", "me/keyed", "--key", "release")
    assert pushed["owner"] == key["peer_id"] != a.peer_id
    assert a.call("model", "info", f"{key['peer_id']}/keyed").returncode == 0
    assert a.call("model", "info", "me/keyed").returncode == 3
    both = a.call("model", "push", folder, "--name", f"{a.peer_id}/keyed", "--key", "release")
    assert "[not_permitted]" in one_line_error(both)
    none = a.call("model", "push", folder, "--name", "me/keyed", "--key", "none")
    assert none.returncode == 3
