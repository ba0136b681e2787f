"""The configuration: where values come from, which wins, and what each mistake says."""

from pathlib import Path

import pytest

from primedht.config import Config, env_name, keys, load_config
from primedht.dht.config import DhtConfig
from primedht.errors import ConfigInvalid


def load(tmp_path: Path, toml: str = "", environ: dict | None = None, **flags: object) -> Config:
    file = tmp_path / "node.toml"
    file.write_text(toml)
    return load_config(
        file, environ=environ or {}, flags={key.replace("__", "."): value for key, value in flags.items()}
    )


def test_the_defaults_are_the_seeds() -> None:
    config = load_config(environ={})
    assert config == Config()
    dht = config.to_dht_config()
    assert (dht.k_bucket_size, dht.alpha, dht.replication_factor) == (20, 3, 3)
    assert (dht.refresh_interval, dht.ttl) == (3600, 86400)
    assert config.node.listen == ("/ip4/0.0.0.0/tcp/4101", "/ip6/::/tcp/4101")
    assert config.protocol_id == "/ipfs/kad/1.0.0"


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    toml = "[dht]\nalpha = 4\nttl = '2h'\nreplication_factor = 5\n[network]\nname = 'from-file'"
    config = load(
        tmp_path,
        toml,
        {"PRIMEDHT_DHT_TTL": "3h", "PRIMEDHT_NETWORK_NAME": "from-env"},
        network__name="from-flag",
        node__mode=None,
    )
    assert (config.dht.alpha, config.dht.ttl, config.network.name) == (4, 10_800, "from-flag")
    assert config.to_dht_config().replication_factor == 5


def test_every_key_has_an_environment_variable() -> None:
    names = {env_name(key) for key in keys()}
    assert "PRIMEDHT_NODE_DATA_DIR" in names
    assert "PRIMEDHT_QUOTAS_RECORDS_BYTES_MAX" in names
    assert len(names) == len(list(keys()))


def test_lists_in_the_environment_are_comma_separated() -> None:
    environ = {"PRIMEDHT_NODE_BOOTSTRAP": "a.example:4101, /ip4/192.0.2.1/tcp/1 ,"}
    assert load_config(environ=environ).node.bootstrap == (
        "/dns/a.example/tcp/4101",
        "/ip4/192.0.2.1/tcp/1",
    )


def test_sizes_durations_and_modes(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[quotas]\nrecords_bytes_max = '10GiB'\n[node]\ngrace = '500ms'\n[control]\nmode = '0660'",
    )
    assert config.quotas.records_bytes_max == 10 << 30
    assert config.node.grace == 0.5
    assert config.control.mode == 0o660
    assert config.to_dht_config().quotas.records_bytes_max == 10 << 30


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("default", DhtConfig()),
        ("high-performance", DhtConfig.high_performance()),
        ("low-latency", DhtConfig.low_latency()),
    ],
)
def test_profiles(tmp_path: Path, profile: str, expected: DhtConfig) -> None:
    dht = load(tmp_path, node__profile=profile).to_dht_config()
    assert dht == expected


def test_amino_takes_only_the_public_networks_keys(tmp_path: Path) -> None:
    config = load(tmp_path, node__profile="amino", network__kind="public")
    dht = config.to_dht_config()
    assert (dht.alpha, dht.replication_factor, dht.network_kind) == (10, 20, "public")
    assert dht.ipfs_keys_only


def test_a_set_value_replaces_the_profiles(tmp_path: Path) -> None:
    dht = load(tmp_path, "[dht]\nalpha = 1", node__profile="high-performance").to_dht_config()
    assert (dht.alpha, dht.k_bucket_size) == (1, 32)


@pytest.mark.parametrize(
    ("flags", "protocol_id"),
    [
        ({"network__name": "lab"}, "/lab/kad/1.0.0"),
        ({"network__protocol_prefix": "/ipfs/lan"}, "/ipfs/lan/kad/1.0.0"),
        ({}, "/ipfs/kad/1.0.0"),
    ],
)
def test_the_protocol_id_names_the_network(tmp_path: Path, flags: dict, protocol_id: str) -> None:
    config = load(tmp_path, **flags)
    assert config.protocol_id == protocol_id == config.to_dht_config().network_id


def test_mdns_runs_unasked_only_on_named_networks(tmp_path: Path) -> None:
    assert not load(tmp_path).mdns_enabled
    assert load(tmp_path, network__name="lab").mdns_enabled
    assert load(tmp_path, node__mdns=True).mdns_enabled
    assert not load(tmp_path, network__name="lab", node__mdns=False).mdns_enabled


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[dht]\naplha = 3", ["dht.aplha", "did you mean dht.alpha?"]),
        ("[dth]\nalpha = 3", ["unknown key dth", "did you mean dht?"]),
        ("[node]\nbootstraps = []", ["node.bootstraps", "did you mean node.bootstrap?"]),
        ("[zzz]\nqqq = 1", ["unknown key zzz", "primedht init"]),
        ("alpha = 3", ["unknown key alpha"]),
        ("dht = 3", ["write [dht]"]),
        ("[dht\n", ["not valid TOML"]),
        ("[dht]\nalpha = 'many'", ["dht.alpha", "valid integer"]),
        ("[dht]\nttl = '1 fortnight'", ["dht.ttl", "not a duration"]),
        ("[dht]\nttl = 0", ["dht.ttl"]),
        ("[dht]\nttl = inf", ["dht.ttl"]),
        ("[dht]\nrequest_timeout = nan", ["dht.request_timeout"]),
        ("[dht]\nk_bucket_size = 257", ["dht.k_bucket_size", "less than or equal to 256"]),
        ("[quotas]\nrecords_bytes_max = 'lots'", ["quotas.records_bytes_max", "not a size"]),
        ("[quotas]\npeer_share = 1.5", ["quotas.peer_share", "less than or equal to 1"]),
        ("[quotas]\nproviders_per_key_max = 0", ["quotas.providers_per_key_max"]),
        ("[node]\nlisten = ['/ip4/1.2.3.4/tcp/99999']", ["node.listen", "malformed multiaddr"]),
        ("[node]\nlisten = ['/ip4/1.2.3.4/udp/1/quic-v1']", ["node.listen", "cannot listen on"]),
        ("[node]\nlisten = 'not a list'", ["node.listen"]),
        ("[node]\nannounce = ['example.org:1']", ["node.announce", "malformed multiaddr"]),
        ("[node]\nbootstrap = ['example.org']", ["node.bootstrap", "HOST:PORT"]),
        ("[node]\nbootstrap = ['example.org:0']", ["node.bootstrap", "HOST:PORT"]),
        ("[node]\nmode = 'both'", ["node.mode", "'auto', 'client' or 'server'"]),
        ("[node]\nprofile = 'fast'", ["node.profile", "'low-latency'"]),
        ("[node]\ngrace = '0s'", ["node.grace"]),
        ("[network]\nname = 'a/b'", ["network.name must be"]),
        ("[network]\nprotocol_prefix = 'ipfs'", ["network.protocol_prefix must look like /ipfs/lan"]),
        ("[storage]\nbackend = ''", ["storage.backend"]),
        ("[control]\nlisten = ['/ip4/0.0.0.0/tcp/4102']", ["control.listen", "not a loopback address"]),
        ("[control]\nlisten = ['x']", ["control.listen", "malformed control address"]),
        ("[control]\nmode = '0777'", ["control.mode", "not the mode of a socket"]),
        ("[control]\nmode = '0044'", ["control.mode", "not the mode of a socket"]),
        ("[records]\nvalue_bytes_max = '1MiB'", ["records.value_bytes_max"]),
        ("[limits]\nconnections_max = 0", ["limits.connections_max", "greater than or equal to 1"]),
        ("[log]\nlevel = 'loud'", ["log.level"]),
    ],
)
def test_each_mistake_is_named_in_one_line(tmp_path: Path, toml: str, said: list[str]) -> None:
    assert_refused(tmp_path, toml, said)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("[dht]\nalpha = 21", ["dht.alpha is 21", "1 to k_bucket_size (20)"]),
        ("[dht]\nalpha = 0", ["dht.alpha", "greater than or equal to 1"]),
        ("[dht]\nk_bucket_size = 2", ["dht.alpha is 3", "1 to k_bucket_size (2)"]),
        ("[node]\nprofile = 'low-latency'\n[dht]\nalpha = 11", ["dht.alpha is 11", "k_bucket_size (10)"]),
        ("[dht]\nreplication_factor = 0", ["dht.replication_factor", "greater than or equal to 1"]),
        ("[dht]\nreplication_factor = 21", ["dht.replication_factor is 21", "1 to k_bucket_size (20)"]),
        ("[dht]\nresiliency = 21", ["dht.resiliency is 21", "1 to k_bucket_size (20)"]),
        ("[dht]\ndisjoint_paths = 4", ["dht.disjoint_paths is 4", "1 to alpha (3)"]),
        ("[network]\nname = 'a'\nprotocol_prefix = '/b'", ["network.name", "network.protocol_prefix"]),
        ("[network]\nkind = 'public'", ["network.kind", 'needs node.profile "amino"']),
        (
            "[network]\nkind = 'public'\n[node]\nprofile = 'amino'\nbootstrap = ['192.0.2.1:4101']",
            ["node.bootstrap /ip4/192.0.2.1/tcp/4101", "/p2p/PEER_ID", "network.kind"],
        ),
        ("[node]\nmode = 'server'\nlisten = []", ["node.mode", "node.listen"]),
        ("[storage]\nbackend = 'redis'", ["storage.backend", "needs storage.url"]),
        ("[storage]\nurl = 'redis://h'", ["storage.url", 'storage.backend is "lmdb"']),
        (
            "[limits]\nconnections_low = 300",
            ["limits.connections_low is 300", "limits.connections_high is 200"],
        ),
        ("[limits]\nconnections_max = 199", ["limits.connections_max is 199"]),
        ("[control]\ngroup = 'ml'", ["control.group", 'control.mode is "0600"']),
        (
            "[records]\ninline_bytes_max = '8KiB'\nvalue_bytes_max = '4KiB'",
            ["records.inline_bytes_max", "must not exceed records.value_bytes_max (4096)"],
        ),
        (
            "[quotas]\nrecords_bytes_max = '32KiB'",
            ["quotas.records_bytes_max is 32768", "records.value_bytes_max (65536)"],
        ),
    ],
)
def test_what_does_not_fit_together_is_named_in_one_line(tmp_path: Path, toml: str, said: list[str]) -> None:
    assert_refused(tmp_path, toml, said)


def assert_refused(tmp_path: Path, toml: str, said: list[str]) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, toml)
    message = str(caught.value)
    assert "\n" not in message
    for part in [*said, "node.toml"]:
        assert part in message


def test_a_rule_between_keys_blames_the_source_of_those_keys(tmp_path: Path) -> None:
    """Not the file, which is innocent here."""
    with pytest.raises(ConfigInvalid, match=r"^environment variable PRIMEDHT_DHT_ALPHA: dht.alpha is 30"):
        load(tmp_path, "[network]\nname = 'lab'", {"PRIMEDHT_DHT_ALPHA": "30"})


def test_an_unknown_environment_variable_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="PRIMEDHT_DHT_APLHA; did you mean PRIMEDHT_DHT_ALPHA"):
        load_config(environ={"PRIMEDHT_DHT_APLHA": "3"})


def test_variables_that_are_no_keys_are_let_be() -> None:
    environ = {"PRIMEDHT_CONTROL": "/unix/x", "PRIMEDHT_CONFIG": "x", "PRIMEDHT_TEST_REDIS": "1", "PATH": ""}
    assert load_config(environ=environ) == Config()


def test_a_missing_or_huge_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"absent.toml: cannot be read: No such file"):
        load_config(tmp_path / "absent.toml", environ={})
    (tmp_path / "huge.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigInvalid, match="larger than"):
        load_config(tmp_path / "huge.toml", environ={})


def test_the_url_of_a_store_is_not_shown() -> None:
    config = load_config(
        environ={"PRIMEDHT_STORAGE_URL": "redis://:secret@h", "PRIMEDHT_STORAGE_BACKEND": "redis"}
    )
    assert "secret" not in repr(config)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "configs").glob("*.toml")), ids=lambda path: path.name
)
def test_the_example_configurations_load_and_name_a_network(file: Path) -> None:
    config = load_config(file, environ={})
    assert config.network.name is not None or config.network.kind == "public"
