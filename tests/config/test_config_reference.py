"""What is derived from the models: the file that `init` writes, the manual page, names and masks."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import pytest

from primedht.cli import config as config_command
from primedht.cli import node as node_command
from primedht.config import Config, load, load_config
from primedht.config.reference import FLAGS, all_keys, example_file, manual_page, masked
from primedht.config.sources import keys

_COMMENTED_KEY = re.compile(r"^# (\w+ = )", re.MULTILINE)
EXAMPLES_ONLY = {
    "network.name", "network.protocol_prefix", "network.psk_file", "node.data_dir", "node.mdns",
    "storage.url", "limits.upload_rate", "limits.download_rate", "control.group",
}  # fmt: skip


def test_every_key_is_documented_in_a_sentence() -> None:
    for key in all_keys():
        assert key.text.endswith("."), key.name
        assert key.default is not None or (key.unset and key.example), key.name
        assert "\n" not in key.text


def test_the_file_with_every_key_loads_and_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(example_file())
    assert load_config(file, environ={}) == Config()


def test_the_file_has_every_key_and_its_values_are_the_defaults(tmp_path: Path) -> None:
    """Taken out of their comments, the values are those that hold anyway."""
    file = tmp_path / "node.toml"
    file.write_text(_COMMENTED_KEY.sub(r"\1", example_file()))
    tree = tomllib.loads(file.read_text())
    assert [f"{section}.{name}" for section, entries in tree.items() for name in entries] == list(keys())
    for name in EXAMPLES_ONLY:
        section, _, key = name.partition(".")
        del tree[section][key]
    config = Config.model_validate(tree)
    assert config.to_dht_config() == Config().to_dht_config()
    unset = {"dht": Config().dht}
    assert config.model_copy(update=unset) == Config()


@pytest.mark.parametrize("name", sorted(EXAMPLES_ONLY))
def test_the_examples_in_the_file_are_valid(name: str) -> None:
    section, _, key = name.partition(".")
    example = next(each.example for each in all_keys() if each.name == name)
    tree = tomllib.loads(f"[{section}]\n{key} = {example}")
    if name == "control.group":
        tree["control"]["mode"] = "0660"
    if name == "storage.url":
        tree["storage"]["backend"] = "redis"
    assert getattr(getattr(Config.model_validate(tree), section), key) is not None


def test_given_values_are_set_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(example_file({"network.name": '"lab"', "dht.alpha": "5"}))
    loaded = load(file, environ={})
    assert (loaded.config.network.name, loaded.config.dht.alpha) == ("lab", 5)
    assert dict(loaded.origins) == {"network.name": str(file), "dht.alpha": str(file)}


def test_the_manual_page_has_every_key_once() -> None:
    page = manual_page()
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (?!20 )", page.partition("## Profiles")[0], re.MULTILINE)
    assert rows == list(keys())


@pytest.mark.parametrize("command", [node_command.run, config_command.show], ids=["run", "config show"])
def test_the_options_that_set_keys_exist(command: object) -> None:
    parameters = inspect.signature(command).parameters  # type: ignore[arg-type]
    taken = {name for name in parameters if name not in ("context", "as_json", "config")}
    assert taken == {flag.removeprefix("--").replace("-", "_") for flag in FLAGS.values()}
    assert set(FLAGS) <= set(keys())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost/0", "redis://***@localhost/0"),
        ("rediss://user:secret@[::1]:1?password=x", "rediss://***@[::1]:1?***"),
        ("redis://a:b@c@host", "redis://***@host"),
        (None, None),
    ],
)
def test_a_secret_is_masked(url: str | None, shown: str | None) -> None:
    assert masked("storage.url", url) == shown


def test_what_is_no_secret_is_shown_as_it_is() -> None:
    assert masked("network.name", "a@b") == "a@b"
