from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError

from vault_core import durations
from vault_core.durations import Duration

REPRESENTABLE = st.integers(1, 3650 * 86_400).map(lambda seconds: timedelta(seconds=seconds))


class Ttl(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    ttl: Duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("8h", timedelta(hours=8)),
        ("90d", timedelta(days=90)),
        ("1h30m", timedelta(minutes=90)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("3650d", timedelta(days=3650)),
        ("315360000s", timedelta(days=3650)),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert durations.parse(text) == duration


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0s", "0", "90", "s", "1w", "1y", "1.5h", "-1h", "+1h", "1H", "1h ", " 1h", "1h 30m", "1h\n"),
        *(
            "30m1h",
            "1h1h",
            "0h30m",
            "08h",
            "PT1H",
            "3651d",
            "3650d1s",
            "1234567890s",
            "999999999d",
            "\u0663h",
            "\uff11h",
        ),
    ],
)
def test_what_is_no_duration_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        durations.parse(text)
    assert str(refusal.value) == (
        "A duration is written like 90s, 15m, 8h, 90d or 1h30m: whole days, hours, minutes and seconds in this "
        "order, from 1s to 3650d"
    )


@pytest.mark.parametrize(
    ("text", "canonical"), [("90m", "1h30m"), ("24h", "1d"), ("90s", "1m30s"), ("1h60m", "2h"), ("8h", "8h")]
)
def test_rendering_is_canonical(text: str, canonical: str) -> None:
    assert durations.render(durations.parse(text)) == canonical


@pytest.mark.parametrize(
    "duration",
    [timedelta(0), timedelta(seconds=-1), timedelta(milliseconds=1500), timedelta(days=3650, seconds=1)],
)
def test_what_has_no_text_is_not_rendered(duration: timedelta) -> None:
    with pytest.raises(ValueError):
        durations.render(duration)


@given(REPRESENTABLE)
def test_what_is_rendered_is_read_back(duration: timedelta) -> None:
    assert durations.parse(durations.render(duration)) == duration


@given(st.text(alphabet="0123456789dhms", max_size=14))
def test_what_is_read_renders_to_an_equal_and_stable_text(text: str) -> None:
    try:
        duration = durations.parse(text)
    except ValueError:
        return
    canonical = durations.render(duration)
    assert durations.parse(canonical) == duration
    assert durations.render(durations.parse(canonical)) == canonical


def test_a_model_field_takes_the_text_and_gives_the_canonical_text() -> None:
    model = Ttl.model_validate_json('{"ttl": "90m"}')
    assert model.ttl == timedelta(minutes=90)
    assert json.loads(model.model_dump_json()) == {"ttl": "1h30m"}


def test_a_model_field_takes_a_timedelta() -> None:
    assert Ttl(ttl=timedelta(hours=1)).model_dump() == {"ttl": "1h"}


@pytest.mark.parametrize("given", [3600, 1.5, True, None, "PT1H", "3600", ["1h"], timedelta(0), timedelta(days=3651)])
def test_a_model_field_takes_nothing_else(given: object) -> None:
    with pytest.raises(ValidationError) as refusal:
        Ttl.model_validate({"ttl": given})
    assert "A duration is written like" in str(refusal.value)


@pytest.mark.parametrize("mode", ["validation", "serialization"])
def test_a_model_field_is_described_as_the_text_it_is(mode: str) -> None:
    schema = Ttl.model_json_schema(mode="validation" if mode == "validation" else "serialization")
    described = schema["properties"]["ttl"]
    assert described["type"] == "string"
    assert described["pattern"] == durations.PATTERN
    assert described["examples"]
