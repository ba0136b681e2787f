"""Names of models and aliases of their owners."""

from __future__ import annotations

import pytest

from primedht.errors import InvalidArgument, UnknownOwner
from primedht.keys import PrivateKey
from primedht.ml.aliases import Aliases
from primedht.ml.names import ModelName, parse_name
from primedht.stores.memory import MemoryKeyValue

ME, OTHER = (PrivateKey(bytes((i,)) * 32).peer_id for i in (1, 2))


def test_an_owner_is_me_an_alias_or_a_peer_id() -> None:
    for text in ("me/resnet50", f"{ME}/resnet50", "me/resnet50@latest"):
        assert parse_name(text, ME, {}) == ModelName(ME, "resnet50")
    assert parse_name("org/a@7", ME, {"org": OTHER}) == ModelName(OTHER, "a", 7)
    assert ModelName(ME, "a", 7).key == ModelName(ME, "a").key == f"/prime/model/{ME}/a".encode()


def test_a_name_is_parsed_from_its_text() -> None:
    for name in (ModelName(ME, "x" * 96), ModelName(OTHER, "a.b-c_d", 2**60)):
        assert parse_name(str(name), ME, {}) == name


@pytest.mark.parametrize(
    "text",
    ["resnet", "me/", "/a", "me/a@", "me/a@0", "me/a@-1", "me/a@01", "me/a@b", "me/a/b", "me/..", "me/.a",
     "me/a b", "me/" + "x" * 97, "me/ä", "me/a@1@2", "me/a\n", ""],
)  # fmt: skip
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_name(text, ME, {})


def test_an_unknown_owner_is_told_how_to_set_an_alias() -> None:
    with pytest.raises(UnknownOwner, match=r"primedht alias set org PEER_ID") as caught:
        parse_name("org/a", ME, {})
    assert caught.value.code == "unknown_owner"


async def test_aliases_are_set_replaced_and_removed() -> None:
    aliases = Aliases(MemoryKeyValue())
    await aliases.set("org", OTHER)
    await aliases.set("lab", OTHER)
    await aliases.set("lab", ME)
    assert await aliases.all() == {"lab": ME, "org": OTHER}
    assert await aliases.remove("org")
    assert not await aliases.remove("org")
    assert await aliases.all() == {"lab": ME}


@pytest.mark.parametrize("alias", ["me", str(OTHER), "", "a/b", "a b", "-a", "x" * 97, "ä"])
async def test_what_could_be_taken_for_something_else_is_no_alias(alias: str) -> None:
    with pytest.raises(InvalidArgument):
        await Aliases(MemoryKeyValue()).set(alias, OTHER)
