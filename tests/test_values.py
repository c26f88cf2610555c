"""Values on their way between the secret store and the answer that hands them over."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.faults import Ledger, watch
from tests.vaults import ALICE, Clock, World, memory_stores
from vault_core.errors import SealBroken, SecretDisabled, SecretMissing, ValueRefused
from vault_core.stores import Secrets
from vault_core.stores.memory import MemorySecrets
from vault_core.values import Values, check_size, subject_of

FIELDS = {"value": SecretStr("correct horse"), "note": SecretStr("Grüße ☃")}


def watched() -> tuple[Secrets, Ledger]:
    stores, ledger = watch(memory_stores())
    return stores.secrets, ledger


async def kept(values: Values, tenant: str = "contoso", credential_id: str = "one") -> str:
    name = values.new_name(tenant)
    await values.write(name, tenant, credential_id, FIELDS)
    return name


async def test_what_was_written_is_read() -> None:
    values = Values(MemorySecrets(), Clock())
    assert await values.read(await kept(values), "contoso", "one") == FIELDS


async def test_a_value_of_another_credential_does_not_open() -> None:
    values = Values(MemorySecrets(), Clock())
    name = await kept(values, credential_id="another")
    with pytest.raises(SealBroken):
        await values.read(name, "contoso", "one")


async def test_a_value_of_another_credential_does_not_open_from_memory_either() -> None:
    values = Values(MemorySecrets(), Clock())
    name = await kept(values, credential_id="another")
    await values.read(name, "contoso", "another")
    with pytest.raises(SealBroken):
        await values.read(name, "contoso", "one")


async def test_a_value_of_another_tenant_does_not_open() -> None:
    values = Values(MemorySecrets(), Clock())
    name = await kept(values, tenant="fabrikam")
    with pytest.raises(SealBroken):
        await values.read(name, "contoso", "one")


async def test_a_tenants_key_is_not_taken_for_a_value() -> None:
    secrets = MemorySecrets()
    name = secrets.new_name("contoso")
    await secrets.write(name, SecretStr(json.dumps({"for": "tenant-key", "tenant": "contoso", "credential": "one"})))
    with pytest.raises(SealBroken):
        await Values(secrets, Clock()).read(name, "contoso", "one")


async def test_a_value_read_lately_is_not_read_again() -> None:
    secrets, ledger = watched()
    clock = Clock()
    values = Values(secrets, clock)
    name = await kept(values)
    for _ in range(3):
        await values.read(name, "contoso", "one")
        clock.pass_by(seconds=20)
    assert ledger.count("secrets", "read") == 1


async def test_a_value_is_kept_in_memory_for_a_minute_at_most() -> None:
    secrets, ledger = watched()
    clock = Clock()
    values = Values(secrets, clock)
    name = await kept(values)
    await values.read(name, "contoso", "one")
    clock.pass_by(seconds=60, microseconds=1)
    await values.read(name, "contoso", "one")
    assert ledger.count("secrets", "read") == 2


async def test_reading_a_value_does_not_keep_it_longer() -> None:
    secrets, ledger = watched()
    clock = Clock()
    values = Values(secrets, clock)
    name = await kept(values)
    for _ in range(4):
        await values.read(name, "contoso", "one")
        clock.pass_by(seconds=40)
    assert ledger.count("secrets", "read") == 2


async def test_what_is_kept_in_memory_is_bounded() -> None:
    secrets, ledger = watched()
    values = Values(secrets, Clock())
    names = [await kept(values) for _ in range(502)]
    for name in names:
        await values.read(name, "contoso", "one")
    await values.read(names[-1], "contoso", "one")
    assert ledger.count("secrets", "read") == 502
    await values.read(names[0], "contoso", "one")
    assert ledger.count("secrets", "read") == 503


async def test_what_is_kept_in_memory_is_not_in_clear() -> None:
    values = Values(MemorySecrets(), Clock())
    await values.read(await kept(values), "contoso", "one")
    assert "correct horse" not in repr(vars(values))


async def test_a_value_that_this_worker_disabled_is_gone_from_its_memory() -> None:
    values = Values(MemorySecrets(), Clock())
    name = await kept(values)
    await values.read(name, "contoso", "one")
    await values.disable(name)
    with pytest.raises(SecretDisabled):
        await values.read(name, "contoso", "one")


async def test_a_value_that_this_worker_destroyed_is_gone_from_its_memory() -> None:
    values = Values(MemorySecrets(), Clock())
    name = await kept(values)
    await values.read(name, "contoso", "one")
    await values.destroy(name)
    await values.destroy(name)
    with pytest.raises(SecretMissing):
        await values.read(name, "contoso", "one")


@pytest.mark.parametrize("text", ["x" * 24_700, "☃" * 8_200, '"' * 12_350], ids=["ascii", "wide", "escaped"])
async def test_what_passes_the_check_of_its_size_can_be_kept(text: str) -> None:
    fields = {"value": SecretStr(text)}
    check_size(fields)
    values = Values(MemorySecrets(), Clock())
    name, longest = values.new_name("t" * 64), subject_of("c" * 36, "i" * 128)
    await values.write(name, "t" * 64, longest, fields)
    assert await values.read(name, "t" * 64, longest) == fields


@pytest.mark.parametrize("text", ["x" * 25_000, "☃" * 8_400, '"' * 12_500], ids=["ascii", "wide", "escaped"])
def test_what_no_secret_can_hold_is_refused_before_anything_is_written(text: str) -> None:
    with pytest.raises(ValueRefused, match="too large"):
        check_size({"value": SecretStr(text)})


@given(st.dictionaries(st.text(max_size=64), st.text(min_size=1, max_size=400), min_size=1, max_size=20))
async def test_any_text_comes_back_as_it_was_given(fields: dict[str, str]) -> None:
    values = Values(MemorySecrets(), Clock())
    name = values.new_name("contoso")
    given_fields = {field: SecretStr(text) for field, text in fields.items()}
    await values.write(name, "contoso", "one", given_fields)
    assert await values.read(name, "contoso", "one") == given_fields


@pytest.mark.parametrize("length", [8_000, 12_000])
async def test_a_refused_value_is_not_repeated(length: int) -> None:
    world = World()
    with pytest.raises(ValueRefused) as refused:
        await world.create(value="☃" * length + "canary" * 200)
    assert "canary" not in str(refused.value)
    assert "canary" not in repr(refused.value.errors)


async def test_every_version_has_a_secret_of_its_own() -> None:
    world = World()
    first = await world.create()
    second = await world.rotate()
    names = [version.secret for version in second.versions]
    assert len(set(names)) == 2
    assert names[0] == first.newest.secret
    granted = await world.lease(ALICE, ttl=timedelta(minutes=1))
    assert granted.value.get_secret_value() == "new value"


async def test_an_empty_value_is_refused() -> None:
    world = World()
    with pytest.raises(ValueRefused):
        await world.create(value="")
