from __future__ import annotations

import pytest

from tests.credential_types.refusals import accept, refusal_of
from vault_core.credential_types import TYPES


@pytest.mark.parametrize(
    "prefix",
    [
        *("sk_live_", "sk_test_", "rk_live_", "pk_live_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
        *("glpat-", "xoxb-", "xoxp-", "AKIA", "ASIA", "AIza", "SG.", "npm_", "pypi-", "hf_", "sk-ant-", "sk-proj-"),
        *("sk-", "dop_v1_", "shpat_"),
    ],
)
def test_a_public_prefix_is_recognised_and_shown(prefix: str) -> None:
    accepted = accept("api-key", value=f"{prefix}12345678")
    assert accepted.details == {"prefix": prefix}
    assert TYPES["api-key"].display(accepted.details) == f"{prefix}••••"


def test_a_prefix_is_not_shown_when_too_little_stays_hidden() -> None:
    assert accept("api-key", value="sk_live_1234567").details == {}
    assert accept("api-key", value="sk_live_").details == {}


@pytest.mark.parametrize("value", ["x", "SK_LIVE_12345678", "my_sk_live_12345678", "correct horse battery"])
def test_a_key_without_a_public_prefix_shows_nothing(value: str) -> None:
    accepted = accept("api-key", value=value)
    assert accepted.details == {}
    assert TYPES["api-key"].display(accepted.details) == "••••"


@pytest.mark.parametrize("control", ["\x00", "\t", "\n", "\r", "\x1b", "\x7f", "\x85"])
def test_control_characters_are_refused(control: str) -> None:
    faults = refusal_of("api-key", value=f"abc{control}def")
    assert faults == {"fields.value": "holds control characters"}


@pytest.mark.parametrize("value", [" abc", "abc ", "abc\n", "\u00a0abc", " "])
def test_white_space_around_a_key_is_refused(value: str) -> None:
    assert refusal_of("api-key", value=value) == {"fields.value": "begins or ends with white space; give it without"}


def test_a_key_has_no_end() -> None:
    assert accept("api-key", value="AKIA1234567890").ends_at is None
