"""Checks without a daemon: the configuration, the data directory, and what is known of its machine."""

from __future__ import annotations

from pathlib import Path

from primedht.config import Config, Loaded, load
from primedht.datadir import inspect_data_dir
from primedht.doctor import machine
from primedht.errors import ConfigInvalid, LocalError
from primedht.findings import Finding


def check_configuration(file: Path | None) -> tuple[Loaded, Finding]:
    """Load the configuration as `primedht run` would; what cannot be loaded stands for the defaults."""
    try:
        loaded = load(file)
    except ConfigInvalid as error:
        return Loaded(Config(), {}), Finding.problem("configuration", "config_invalid", str(error))
    sources = sorted({origin for origin in loaded.origins.values() if not origin.startswith("environment")})
    variables = sum(origin.startswith("environment") for origin in loaded.origins.values())
    parts = [*sources, *([f"{variables} environment variable{'s' * (variables > 1)}"] if variables else [])]
    given = " and ".join(parts) or "all defaults"
    text = f"{given}; a new node would join {loaded.config.protocol_id}"
    return loaded, Finding.good("configuration", text)


def check_data_dir(path: Path, config: Config) -> list[Finding]:
    """Check a data directory that no daemon answers for, and where it is. Changes nothing."""
    quotas = config.quotas
    exists_at = next(each for each in (path, *path.parents) if each.exists())
    growth = 0
    if quotas.records_bytes_max and quotas.provider_bytes_max:
        growth = quotas.records_bytes_max + quotas.provider_bytes_max
    return [
        _data_dir_finding(path),
        machine.check_file_system(path),
        machine.check_disk(exists_at, growth_bytes_max=growth),
    ]


def _data_dir_finding(path: Path) -> Finding:
    try:
        found = inspect_data_dir(path, allow_network_fs=True)  # the file system is a check of its own
    except LocalError as error:
        return Finding.of_error("data directory", error, otherwise="data_dir_unusable")
    if found is None:
        return Finding.problem("data directory", "data_dir_absent", f"{path} is not there yet")
    return Finding.good("data directory", f"{path} can be used")


def check_clock() -> Finding:
    """Check the clock by the kernel's word alone."""
    synchronised = machine.clock_is_synchronised()
    return machine.check_clock(synchronised=synchronised, stepped_s=None, uptime_s=0.0, writers_ahead_s=())
