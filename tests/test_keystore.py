"""Named keys on disk."""

from __future__ import annotations

import base64
import errno
import os
from pathlib import Path

import pytest

from primedht import keystore as keystore_module
from primedht.errors import (
    DiskFull,
    InvalidArgument,
    KeyExists,
    KeyFileExposed,
    KeyNotFound,
    MalformedKey,
    StoreUnavailable,
)
from primedht.keys import PrivateKey
from primedht.keystore import Keystore, read_key_file, write_key_file


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "keys")


def test_keys_are_kept_listed_and_read(keystore: Keystore) -> None:
    assert keystore.list() == {}
    beta, alpha = keystore.generate("beta"), keystore.generate("alpha.2-x_Y")
    assert keystore.get("beta") == beta
    assert list(keystore.list().items()) == [("alpha.2-x_Y", alpha), ("beta", beta)]


def test_key_files_are_the_owners_only(keystore: Keystore, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keystore.generate("a")
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "keys" / "a.key").stat().st_mode & 0o777 == 0o600


def test_a_file_holds_libp2ps_message(keystore: Keystore, tmp_path: Path) -> None:
    key = keystore.generate("a")
    assert (tmp_path / "keys" / "a.key").read_bytes() == key.serialize()


def test_a_key_is_never_overwritten(keystore: Keystore) -> None:
    key = keystore.generate("a")
    with pytest.raises(KeyExists, match="'a' exists"):
        keystore.generate("a")
    with pytest.raises(KeyExists):
        keystore.import_key("a", PrivateKey.generate().serialize())
    assert keystore.get("a") == key


def test_a_key_is_never_overwritten_where_hard_links_are_unknown(
    keystore: Keystore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(source: object, target: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(keystore_module.os, "link", no_links)
    key = keystore.generate("a")
    with pytest.raises(KeyExists):
        keystore.generate("a")
    assert keystore.list() == {"a": key}


def test_import_takes_every_usual_form_and_export_gives_it_back(keystore: Keystore) -> None:
    key = PrivateKey.generate()
    forms = (key.serialize(), base64.b64encode(key.serialize()) + b"\n", key.serialize_pem())
    for number, content in enumerate(forms):
        assert keystore.import_key(f"k{number}", content) == key
        assert keystore.get(f"k{number}").serialize() == key.serialize()


def test_what_is_no_key_is_refused_and_leaves_nothing(keystore: Keystore, tmp_path: Path) -> None:
    for content in (b"", b"no key", bytes(1 << 20)):
        with pytest.raises(MalformedKey):
            keystore.import_key("a", content)
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "-a", ".a", "a b", "ä", "a\n", "a" * 65])
def test_names_that_are_no_file_names_are_refused(keystore: Keystore, name: str) -> None:
    for use in (keystore.get, keystore.generate):
        with pytest.raises(InvalidArgument):
            use(name)


def test_a_missing_key_is_named(keystore: Keystore) -> None:
    with pytest.raises(KeyNotFound, match="'a'"):
        keystore.get("a")


def test_a_key_that_others_may_read_is_refused(keystore: Keystore, tmp_path: Path) -> None:
    keystore.generate("a")
    (tmp_path / "keys" / "a.key").chmod(0o640)
    with pytest.raises(KeyFileExposed, match="chmod 600"):
        keystore.get("a")


def test_a_damaged_key_file_says_which(keystore: Keystore, tmp_path: Path) -> None:
    keystore.generate("a")
    path = tmp_path / "keys" / "a.key"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MalformedKey, match=r"a\.key"):
        keystore.get("a")


def test_other_files_in_the_folder_are_not_keys(keystore: Keystore, tmp_path: Path) -> None:
    key = keystore.generate("a")
    (tmp_path / "keys" / "notes.txt").write_text("x")
    (tmp_path / "keys" / ".b.key.0123").write_text("left by a crash")
    assert keystore.list() == {"a": key}


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, DiskFull), (errno.EIO, StoreUnavailable)])
def test_a_failing_disk_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(keystore_module.os, "fsync", failing)
    with pytest.raises(error):
        write_key_file(tmp_path / "identity.key", PrivateKey.generate())
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("")
    with pytest.raises(StoreUnavailable):
        Keystore(tmp_path / "keys").generate("a")
    assert Keystore(tmp_path / "keys").list() == {}


def test_an_identity_file_is_made_once(tmp_path: Path) -> None:
    path, key = tmp_path / "identity.key", PrivateKey.generate()
    with pytest.raises(FileNotFoundError):
        read_key_file(path)
    write_key_file(path, key)
    with pytest.raises(FileExistsError):
        write_key_file(path, PrivateKey.generate())
    assert read_key_file(path) == key
