"""The rules of attributes: what they may be called, what a change of them keeps, and which values belong to them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.vaults import NOON
from vault_core.attributes import (
    MAX_ATTRIBUTES,
    Attribute,
    ChangedAttribute,
    OwnAttributes,
    are_own,
    by_id,
    by_name,
    defined,
    marked,
    of_type,
    own_by_id,
    redefined,
    set_now,
)
from vault_core.credential_requests import CreateCredential, RedefineCredential
from vault_core.credential_types import TYPES
from vault_core.errors import InvalidInput, ValueRefused
from vault_core.names import fold

LATER = NOON + timedelta(hours=1)


def definition(name: str, **more: Any) -> ChangedAttribute:
    return ChangedAttribute(name=name, **more)


def login() -> tuple[Attribute, ...]:
    """Two standard attributes, and one that each consumer gives."""
    wanted = [definition("Host", masked=False), definition("Password"), definition("Pin", user_provided=True)]
    return defined(wanted, "id-alice", NOON)


def again(attribute: Attribute, **changes: Any) -> ChangedAttribute:
    """The definition that a caller sends back."""
    kept = ("id", "name", "description", "user_provided", "masked", "password_flag")
    return ChangedAttribute(**{name: getattr(attribute, name) for name in kept} | changes)


def secret(**values: str) -> dict[str, SecretStr]:
    return {name: SecretStr(text) for name, text in values.items()}


NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9 ._-]{0,5}[a-z0-9]", fullmatch=True)
DEFINITIONS = st.lists(
    st.builds(
        ChangedAttribute,
        name=NAMES,
        description=st.text(max_size=9),
        user_provided=st.booleans(),
        masked=st.booleans(),
        password_flag=st.booleans(),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: fold(one.name),
)


class TestTheFieldsOfAType:
    @pytest.mark.parametrize("type_name", sorted(TYPES))
    def test_are_its_attributes_by_their_names_and_none_is_the_credentials_own(self, type_name: str) -> None:
        made = of_type(type_name, "id-alice", NOON)
        assert [(one.id, one.name, one.masked) for one in made] == [
            (field.name, field.name, field.secret) for field in TYPES[type_name].fields
        ]
        assert not any(one.user_provided for one in made)
        assert not are_own(type_name, made)

    def test_are_told_from_attributes_of_the_credentials_own_even_of_the_same_names(self) -> None:
        assert are_own("generic-secret", defined([definition("value")], "id-alice", NOON))


class TestDefining:
    @given(wanted=DEFINITIONS)
    def test_each_attribute_is_as_wanted_with_an_id_of_its_own_and_no_value(
        self, wanted: list[ChangedAttribute]
    ) -> None:
        made = defined(wanted, "id-alice", NOON)
        assert [again(one, id=None) for one in made] == wanted
        assert len({one.id for one in made}) == len(wanted)
        for one in made:
            assert (one.value, one.revision, one.created_by, one.updated_by) == (None, 0, "id-alice", "id-alice")
            assert one.created_at == one.updated_at == NOON

    @pytest.mark.parametrize(("first", "second"), [("Pin", "pin"), ("straße", "STRASSE"), ("ﬁle", "file")])
    def test_two_attributes_whose_names_look_alike_are_refused(self, first: str, second: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            defined([definition("other"), definition(first), definition(second)], "id-alice", NOON)
        assert [fault.field for fault in refused.value.errors] == ["attributes.2.name"]

    def test_an_id_cannot_be_chosen(self) -> None:
        with pytest.raises(InvalidInput) as refused:
            defined([definition("pin", id="0123456789abcdef")], "id-alice", NOON)
        assert [fault.field for fault in refused.value.errors] == ["attributes.0.id"]

    @pytest.mark.parametrize("name", ["", "x" * 51, "a/b", "a#b", " a", "a ", "-a", "a\u200bb", "a\n", "a'b"])
    def test_a_name_that_could_be_mistaken_is_refused(self, name: str) -> None:
        with pytest.raises(ValidationError):
            definition(name)

    def test_a_credential_has_one_attribute_at_least_and_fifty_at_most(self) -> None:
        def create(count: int) -> CreateCredential:
            attributes = [{"name": f"a{number}"} for number in range(count)]
            return CreateCredential.model_validate({"name": "n", "type": "generic-secret", "attributes": attributes})

        assert len(create(MAX_ATTRIBUTES).attributes or ()) == 50
        for count in (0, 51):
            with pytest.raises(ValidationError):
                create(count)

    def test_only_a_generic_secret_brings_attributes(self) -> None:
        with pytest.raises(ValidationError):
            CreateCredential.model_validate({"name": "n", "type": "api-key", "attributes": [{"name": "a"}]})


class TestRedefining:
    @given(data=st.data(), before=DEFINITIONS)
    def test_what_is_sent_back_by_its_id_stays_what_has_none_is_new_and_the_rest_goes(
        self, data: st.DataObject, before: list[ChangedAttribute]
    ) -> None:
        present = defined(before, "id-alice", NOON)
        kept = data.draw(st.lists(st.sampled_from(present), unique_by=lambda one: one.id))
        names = {fold(one.name) for one in present}
        new = [one for one in data.draw(DEFINITIONS) if fold(one.name) not in names]
        wanted = data.draw(st.permutations([*map(again, kept), *new]))
        after = redefined(present, wanted, "id-bob", LATER)
        assert [one.name for one in after] == [one.name for one in wanted]
        for one, asked in zip(after, wanted, strict=True):
            if asked.id:
                assert one in present
            else:
                assert one.id not in {old.id for old in present}
                assert (one.created_by, one.created_at, one.revision) == ("id-bob", LATER, 0)

    def test_an_attribute_without_id_is_the_one_of_its_name_unless_that_is_sent_by_its_id(self) -> None:
        first, second = defined([definition("user"), definition("password")], "id-alice", NOON)
        assert redefined((first, second), [definition("USER", masked=False)], "id-bob", LATER)[0].id == first.id
        moved = redefined((first, second), [again(first, name="login"), definition("user")], "id-bob", LATER)
        assert moved[0].id == first.id
        assert moved[1].id not in {first.id, second.id}

    @pytest.mark.parametrize(
        "change",
        [{"name": "Secret"}, {"description": "of the portal"}, {"masked": False}, {"password_flag": True}],
        ids=lambda change: next(iter(change)),
    )
    def test_a_changed_attribute_keeps_its_id_its_beginning_and_its_value(self, change: dict[str, Any]) -> None:
        present = login()
        present = marked(present, [present[1].id], (), "id-alice", NOON)
        [after] = redefined(present, [again(present[1], **change)], "id-bob", LATER)
        assert after == present[1].but(**change, revision=1, updated_at=LATER, updated_by="id-bob")
        assert after.value is not None

    def test_a_standard_attribute_that_each_consumer_is_to_give_from_now_on_loses_its_value(self) -> None:
        host = login()[0]
        [present] = marked([host], [host.id], (), "id-alice", NOON)
        assert present.value
        [after] = redefined([present], [again(present, user_provided=True)], "id-bob", LATER)
        assert (after.id, after.user_provided, after.value, after.revision) == (host.id, True, None, 1)

    def test_names_can_change_places(self) -> None:
        present = login()
        host, password = present[0], present[1]
        after = redefined(present, [again(host, name="Password"), again(password, name="Host")], "id-bob", LATER)
        assert [(one.id, one.name) for one in after] == [(host.id, "Password"), (password.id, "Host")]

    def test_an_id_that_is_unknown_or_given_twice_is_refused(self) -> None:
        present = login()
        twice = [again(present[0]), again(present[0], name="other")]
        unknown = [again(present[0]), definition("new", id="f" * 16)]
        for wanted in (twice, unknown):
            with pytest.raises(InvalidInput) as refused:
                redefined(present, wanted, "id-bob", LATER)
            assert [fault.field for fault in refused.value.errors] == ["attributes.1.id"]

    def test_a_refusal_names_every_fault_and_repeats_no_input(self) -> None:
        wanted = [definition("Hunter2"), definition("hunter2", id="hunter2-id")]
        with pytest.raises(InvalidInput) as refused:
            redefined(login(), wanted, "id-bob", LATER)
        assert [fault.field for fault in refused.value.errors] == ["attributes.1.name", "attributes.1.id"]
        assert "hunter2" not in repr([refused.value, *refused.value.errors]).lower()

    def test_one_that_is_sent_without_what_it_may_leave_out_is_a_whole_definition(self) -> None:
        assert ChangedAttribute.model_validate({"name": "a"}) == definition(
            "a", id=None, description="", user_provided=False, masked=True, password_flag=False
        )
        assert RedefineCredential.model_validate({"name": "n"}).attributes is None


class TestMarks:
    def test_a_value_given_for_the_first_time_is_marked_and_later_ones_count(self) -> None:
        host, password, _ = present = login()
        first = marked(present, [host.id, password.id], [host.id, password.id], "id-alice", NOON)
        assert first[0].value == set_now(None, "id-alice", NOON)
        again_given = marked(first, [host.id, password.id], [host.id], "id-bob", LATER)
        assert again_given[0].value == set_now(first[0].value, "id-bob", LATER)
        assert again_given[1].value == first[1].value

    def test_a_mark_counts_from_nothing_and_remembers_who_was_first(self) -> None:
        first = set_now(None, "id-alice", NOON)
        second = set_now(first, "id-bob", LATER)
        assert (first.revision, first.updated_by, first.updated_at) == (0, "id-alice", NOON)
        assert (second.revision, second.created_by, second.created_at) == (1, "id-alice", NOON)
        assert (second.updated_by, second.updated_at) == ("id-bob", LATER)

    def test_a_value_that_is_held_no_longer_loses_its_mark(self) -> None:
        host, password, _ = present = login()
        both = marked(present, [host.id, password.id], (), "id-alice", NOON)
        one_left = marked(both, [password.id], (), "id-bob", LATER)
        assert (one_left[0].value, one_left[1].value) == (None, both[1].value)

    def test_what_each_consumer_gives_is_never_marked_as_a_standard_value(self) -> None:
        pin = login()[2]
        assert marked([pin], [pin.id], [pin.id], "id-alice", NOON) == (pin,)


class TestValuesByName:
    def test_values_are_given_by_name_regardless_of_case_and_kept_by_id(self) -> None:
        host, password, pin = present = login()
        assert by_id(present, secret(HOST="h", password="p")) == {
            host.id: SecretStr("h"),
            password.id: SecretStr("p"),
        }
        assert own_by_id(present, secret(PIN="1")) == {pin.id: SecretStr("1")}

    def test_a_standard_value_cannot_be_given_as_ones_own_nor_the_other_way_round(self) -> None:
        with pytest.raises(ValueRefused) as refused:
            by_id(login(), secret(Pin="hunter2"))
        assert [fault.field for fault in refused.value.errors] == ["fields.Pin"]
        with pytest.raises(ValueRefused) as refused:
            own_by_id(login(), secret(Host="hunter2"))
        assert [fault.field for fault in refused.value.errors] == ["fields.Host"]
        assert "hunter2" not in repr([refused.value, *refused.value.errors])

    def test_a_name_that_no_attribute_has_is_refused_without_repeating_it(self) -> None:
        for read in (by_id, own_by_id):
            with pytest.raises(ValueRefused) as refused:
                read(login(), secret(hunter2="x"))
            assert "hunter2" not in repr([refused.value, *refused.value.errors])
            assert "Host, Password, Pin" in refused.value.detail

    @pytest.mark.parametrize("text", ["", "\ud800"], ids=["empty", "no text"])
    def test_ones_own_value_that_is_no_usable_text_is_refused(self, text: str) -> None:
        with pytest.raises(ValueRefused) as refused:
            own_by_id(login(), secret(Pin=text))
        assert [fault.field for fault in refused.value.errors] == ["fields.Pin"]

    def test_values_are_told_by_name_in_the_order_of_the_attributes_and_none_that_has_no_attribute(self) -> None:
        host, password, pin = present = login()
        kept = secret(**{pin.id: "1", "gone": "x", host.id: "h"})
        assert list(by_name(present, kept).items()) == [("Host", SecretStr("h")), ("Pin", SecretStr("1"))]
        assert password.name not in by_name(present, kept)


class TestOwnAttributesAsAType:
    def test_the_only_standard_attribute_takes_a_value_given_alone(self) -> None:
        host, _, pin = login()
        assert OwnAttributes([host, pin]).parse(SecretStr("h")) == {host.id: SecretStr("h")}

    @pytest.mark.parametrize("places", [(0, 1), (2,)], ids=["several", "none"])
    def test_a_value_given_alone_is_refused_when_it_is_not_clear_whose_it_is(self, places: tuple[int, ...]) -> None:
        with pytest.raises(ValueRefused) as refused:
            OwnAttributes([login()[place] for place in places]).parse(SecretStr("hunter2"))
        assert "hunter2" not in repr([refused.value, *refused.value.errors])

    def test_the_only_value_is_rendered_as_it_is_and_several_as_json_by_name(self) -> None:
        host, password, pin = present = login()
        kind = OwnAttributes(present)
        assert kind.render(secret(**{pin.id: "1"})).get_secret_value() == "1"
        rendered = kind.render(secret(**{host.id: "hä", password.id: "p", pin.id: "1", "gone": "x"}))
        assert json.loads(rendered.get_secret_value()) == {"Host": "hä", "Password": "p", "Pin": "1"}
        assert "hä" in rendered.get_secret_value()

    def test_values_may_be_left_out_but_not_be_empty(self) -> None:
        host, password, _ = present = login()
        kind = OwnAttributes(present)
        assert kind.accept({}, NOON).fields == {}
        assert kind.accept(secret(**{host.id: "h"}), NOON).fields == secret(**{host.id: "h"})
        with pytest.raises(ValueRefused) as refused:
            kind.accept(secret(**{host.id: "hunter2", password.id: ""}), NOON)
        assert [fault.field for fault in refused.value.errors] == ["fields.Password"]
        assert "hunter2" not in repr([refused.value, *refused.value.errors])

    def test_only_standard_attributes_are_its_fields_and_none_is_required(self) -> None:
        host, password, pin = login()
        fields = OwnAttributes([host, password, pin]).fields
        assert [(field.name, field.required, field.secret) for field in fields] == [
            (host.id, False, False),
            (password.id, False, True),
        ]
