"""`api-key`: one line of text, told apart by its public prefix when it has a known one."""

from __future__ import annotations

from datetime import datetime

from vault_core.credential_types.given import BULLETS, Faults, PrimaryValue, check_one_line, read_fields
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields

# Prefixes that their issuers document as marks of the kind of key. Nothing else of a key is ever shown.
_PREFIXES = (
    *("sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_", "whsec_"),  # Stripe
    *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),  # GitHub
    *("glpat-", "gldt-", "glrt-"),  # GitLab
    *("xoxb-", "xoxp-", "xoxa-", "xoxr-", "xapp-"),  # Slack
    *("AKIA", "ASIA"),  # AWS
    *("AIza",),  # Google
    *("SG.",),  # SendGrid
    *("npm_", "pypi-", "hf_"),  # npm, PyPI, Hugging Face
    *("sk-ant-", "sk-proj-", "sk-"),  # Anthropic, OpenAI
    *("dop_v1_", "doo_v1_", "dor_v1_"),  # DigitalOcean
    *("shpat_", "shpca_", "shppa_", "shpss_"),  # Shopify
)
_LONGEST_FIRST = sorted(_PREFIXES, key=len, reverse=True)
_LEAST_HIDDEN = 8


class ApiKey(PrimaryValue):
    """A key as an API's owner hands it out."""

    name = "api-key"
    fields: tuple[Field, ...] = (Field("value", "The key"),)

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept one line of text without control characters or white space around it.

        The detail `prefix` is there when the key begins with a known public one and at least 8 characters of
        it stay hidden.
        """
        text = read_fields(self.name, self.fields, fields)["value"]
        faults = Faults(self.name)
        faults.attempt("value", lambda: check_one_line(text))
        faults.refuse_any()
        prefix = _public_prefix(text)
        return Accepted(fields, {"prefix": prefix} if prefix else {})

    def display(self, details: Details) -> str:
        """Return the public prefix, if there is one, and bullets."""
        return f"{details.get('prefix', '')}{BULLETS}"

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept any value; that it differs is checked for all types alike."""


def _public_prefix(text: str) -> str | None:
    prefix = next((prefix for prefix in _LONGEST_FIRST if text.startswith(prefix)), None)
    return prefix if prefix and len(text) - len(prefix) >= _LEAST_HIDDEN else None


TYPE: CredentialType = ApiKey()
