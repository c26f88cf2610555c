"""What `Secrets` promises, held by every adapter."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import SecretStr

from vault_core.errors import SecretDisabled, SecretMissing
from vault_core.stores import Secrets

VALUE = SecretStr('{"value": "s3cr3t"}')


async def kept(secrets: Secrets, value: SecretStr = VALUE) -> str:
    name = secrets.new_name("contoso")
    await secrets.write(name, value)
    return name


def test_a_new_name_is_lower_case_opaque_and_never_the_same(secrets: Secrets) -> None:
    names = {secrets.new_name("Contoso") for _ in range(100)}
    assert len(names) == 100
    assert all(name == name.lower() and "contoso" not in name for name in names)


def test_names_of_a_tenant_share_a_prefix_that_no_other_tenant_has(secrets: Secrets) -> None:
    def prefix(tenant: str) -> str:
        return secrets.new_name(tenant).partition("/")[2].partition("-")[0]

    assert prefix("contoso") == prefix("contoso") != prefix("fabrikam")


@pytest.mark.parametrize("text", ["x", "ä漢🔑\x00\r\n\"'", "x" * 25_000, "é" * 12_500, " "])
async def test_a_value_is_read_as_it_was_written(secrets: Secrets, text: str) -> None:
    name = await kept(secrets, SecretStr(text))
    assert (await secrets.read(name)).get_secret_value() == text


async def test_writing_the_same_value_again_is_harmless(secrets: Secrets) -> None:
    name = await kept(secrets)
    await secrets.write(name, VALUE)
    assert await secrets.read(name) == VALUE


async def test_a_name_that_was_never_written_is_missing(secrets: Secrets) -> None:
    name = secrets.new_name("contoso")
    for ask in (secrets.read, secrets.disable):
        with pytest.raises(SecretMissing) as missing:
            await ask(name)
        assert missing.value.key == name


async def test_a_disabled_value_is_kept_but_not_read(secrets: Secrets) -> None:
    name = await kept(secrets)
    await secrets.disable(name)
    await secrets.disable(name)
    with pytest.raises(SecretDisabled) as disabled:
        await secrets.read(name)
    assert disabled.value.key == name


@pytest.mark.parametrize("disabled", [False, True], ids=["enabled", "disabled"])
async def test_a_deleted_value_is_missing(secrets: Secrets, disabled: bool) -> None:
    name = await kept(secrets)
    if disabled:
        await secrets.disable(name)
    await secrets.delete(name)
    for ask in (secrets.read, secrets.disable):
        with pytest.raises(SecretMissing):
            await ask(name)


async def test_deleting_what_is_not_there_is_a_success(secrets: Secrets) -> None:
    name = await kept(secrets)
    await secrets.delete(name)
    await secrets.delete(name)
    await secrets.delete(secrets.new_name("contoso"))


async def test_a_deleted_name_is_not_written_again(secrets: Secrets) -> None:
    name = await kept(secrets)
    await secrets.delete(name)
    with pytest.raises(SecretMissing):
        await secrets.write(name, VALUE)


async def test_what_befalls_one_name_leaves_the_others_alone(secrets: Secrets) -> None:
    first, second, third = [await kept(secrets, SecretStr(text)) for text in "abc"]
    await secrets.disable(first)
    await secrets.delete(second)
    assert (await secrets.read(third)).get_secret_value() == "c"


async def test_many_values_are_written_and_read_at_once(secrets: Secrets) -> None:
    names = await asyncio.gather(*(kept(secrets, SecretStr(f"v{n}")) for n in range(10)))
    values = await asyncio.gather(*map(secrets.read, names))
    assert [value.get_secret_value() for value in values] == [f"v{n}" for n in range(10)]


async def test_a_ping_returns_when_every_vault_answers(secrets: Secrets) -> None:
    await secrets.ping()


@pytest.mark.parametrize("value", ["", "x" * 25_001, "é" * 12_501, "\ud800"], ids=["empty", "long", "bytes", "broken"])
async def test_a_value_that_key_vault_cannot_hold_is_refused_unquoted(secrets: Secrets, value: str) -> None:
    with pytest.raises(ValueError) as refused:
        await secrets.write(secrets.new_name("contoso"), SecretStr(value))
    assert refused.value.__cause__ is None
    assert "xx" not in str(refused.value)


@pytest.mark.parametrize("form", ["{}/../x", "{}", "x", "{}/t-", "{name}/", "{name}?a", "{name}\n", "", "/{name}"])
async def test_a_name_of_another_form_is_refused(secrets: Secrets, form: str) -> None:
    name = secrets.new_name("contoso")
    wrong = form.format(name.partition("/")[0], name=name)
    for ask in (secrets.read, secrets.disable, secrets.delete):
        with pytest.raises(ValueError):
            await ask(wrong)
    with pytest.raises(ValueError):
        await secrets.write(wrong, VALUE)
