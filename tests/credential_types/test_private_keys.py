"""What opening a private key may cost, and what holds between its numbers."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.credential_types.envelopes import (
    UNKNOWN_DERIVATION,
    openssh_content,
    openssh_text,
    pbes1,
    pbkdf2,
    pem_text,
    scrypt,
)
from tests.credential_types.key_material import (
    ENCRYPTION,
    OPENSSH_ENCRYPTION,
    PASSPHRASE,
    WRONG_PASSPHRASE,
    ed25519_key,
    pem,
    rsa_key,
)
from tests.credential_types.refusals import accept, accepted_or_refused, refusal_of
from vault_core.errors import ValueRefused

DAMAGED = "cannot be read; check that the key is whole and of a supported kind"
TOO_MUCH_WORK = "asks for too much work to open; encrypt it again with the usual cost"


# The cost of a passphrase


@pytest.mark.parametrize("rounds", [129, 1_000_000, 2**32 - 1])
def test_an_openssh_key_with_too_many_rounds_is_refused_before_it_is_opened(rounds: int) -> None:
    text = openssh_text(openssh_content(b"ssh-ed25519", rounds=rounds))
    assert refusal_of("ssh-key", privateKey=text, passphrase=PASSPHRASE) == {"fields.privateKey": TOO_MUCH_WORK}


def test_an_openssh_key_with_few_rounds_is_opened() -> None:
    text = openssh_text(openssh_content(b"ssh-ed25519", rounds=2))
    wrong = refusal_of("ssh-key", privateKey=text, passphrase=PASSPHRASE)
    assert wrong == {"fields.passphrase": WRONG_PASSPHRASE}


@pytest.mark.parametrize(
    "text",
    [
        *(pbkdf2(1_000_001), pbkdf2(2**31), pbkdf2(2**100), pbes1(1_000_001), pbes1(2**31)),
        *(scrypt(2**17, 8, 1), scrypt(2**16, 8, 2), scrypt(2**30, 8, 1), scrypt(2, 1, 2**29)),
        UNKNOWN_DERIVATION,
    ],
)
def test_a_pkcs8_key_that_costs_too_much_is_refused_before_it_is_opened(text: str) -> None:
    assert refusal_of("ssh-key", privateKey=text, passphrase=PASSPHRASE) == {"fields.privateKey": TOO_MUCH_WORK}


@pytest.mark.parametrize("text", [pbkdf2(2_048), scrypt(2**14, 8, 1), scrypt(2**16, 8, 1), pbes1(2_048)])
def test_a_pkcs8_key_of_usual_cost_is_opened(text: str) -> None:
    wrong = refusal_of("ssh-key", privateKey=text, passphrase=PASSPHRASE)
    assert wrong == {"fields.passphrase": WRONG_PASSPHRASE}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")
@pytest.mark.parametrize(
    "options", [["-scrypt"], ["-v2", "aes256"], ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"], ["-iter", "9999"]]
)
def test_keys_encrypted_by_openssl_are_opened(tmp_path: Path, options: list[str]) -> None:
    key = ed25519_key()
    path = tmp_path / "key.pem"
    path.write_text(pem(key))
    command = ["openssl", "pkcs8", "-topk8", "-in", str(path), "-passout", f"pass:{PASSPHRASE}", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    details = accept("ssh-key", privateKey=text, passphrase=PASSPHRASE).details
    assert details["fingerprint"] == accept("ssh-key", privateKey=pem(key)).details["fingerprint"]


# The numbers of an RSA key


def test_an_rsa_key_of_extravagant_size_is_refused() -> None:
    text = pem(_rsa_of_known_factors(2**8219 - 1, 2**8221 - 1))
    assert refusal_of("ssh-key", privateKey=text) == {"fields.privateKey": "is an RSA key of more than 16384 bits"}


def test_a_large_rsa_key_is_accepted_without_proving_its_primes_again() -> None:
    # Mersenne primes, so that nothing has to be searched for; the library needs 40 seconds to prove such a key.
    key = _rsa_of_known_factors(2**4423 - 1, 2**9689 - 1)
    assert accept("ssh-key", privateKey=pem(key)).details["keySize"] == 4423 + 9689


@asn1.sequence
class RsaPrivateKey:  # RFC 8017 appendix A.1.2
    version: int
    n: int
    e: int
    d: int
    p: int
    q: int
    dmp1: int
    dmq1: int
    iqmp: int


def test_an_rsa_key_whose_numbers_do_not_fit_is_refused() -> None:
    key = rsa_key(2048)
    numbers, public = key.private_numbers(), key.public_key().public_numbers()
    names = ("p", "q", "d", "dmp1", "dmq1", "iqmp")
    right = {"version": 0, "n": public.n, "e": public.e, **{name: getattr(numbers, name) for name in names}}
    fits_only_p, fits_only_q = numbers.d + numbers.p - 1, numbers.d + numbers.q - 1
    changes = [
        *({name: right[name] - 2} for name in ("n", *names)),
        {"d": fits_only_p, "dmq1": fits_only_p % (numbers.q - 1)},
        {"d": fits_only_q, "dmp1": fits_only_q % (numbers.p - 1)},
        *({name: 0} for name in ("n", "e", *names)),
        {"p": 1, "q": public.n},
    ]
    for change in ({}, *changes):
        content = asn1.encode_der(RsaPrivateKey(**{**right, **change}))
        text = pem_text("RSA PRIVATE KEY", content)
        if change:
            assert refusal_of("ssh-key", privateKey=text) == {"fields.privateKey": DAMAGED}, change.keys()
        else:
            assert accept("ssh-key", privateKey=text).details == accept("ssh-key", privateKey=pem(key)).details


def _rsa_of_known_factors(p: int, q: int) -> rsa.RSAPrivateKey:
    e = 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(e, p * q),
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


# Damage

OPENSSH_KEY = pem(ed25519_key(), PrivateFormat.OpenSSH)
ENCRYPTED_OPENSSH_KEY = pem(ed25519_key(), PrivateFormat.OpenSSH, OPENSSH_ENCRYPTION)
MUTABLE = [
    (OPENSSH_KEY, {}),
    (ENCRYPTED_OPENSSH_KEY, {"passphrase": PASSPHRASE}),
    (pem(ed25519_key()), {}),
    (pem(ed25519_key(), PrivateFormat.PKCS8, ENCRYPTION), {"passphrase": PASSPHRASE}),
    (pem(ec.generate_private_key(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL), {}),
    (pem(rsa_key(2048), PrivateFormat.TraditionalOpenSSL), {}),
]


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(MUTABLE), st.integers(0), st.binary(min_size=1, max_size=6))
def test_a_damaged_key_is_accepted_or_refused_and_nothing_else(
    key: tuple[str, dict[str, str]], place: int, noise: bytes
) -> None:
    head, *body, tail = key[0].strip().split("\n")
    try:
        content = bytearray(b64decode("".join(body), validate=True))
    except ValueError:
        return
    start = place % len(content)
    content[start : start + len(noise)] = noise
    damaged = f"{head}\n{b64encode(content).decode()}\n{tail}\n"
    outcome = accepted_or_refused(lambda: accept("ssh-key", privateKey=damaged, **key[1]))
    assert isinstance(outcome, ValueRefused) or outcome.details["fingerprint"]
