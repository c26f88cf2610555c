from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from tests.credential_types.envelopes import openssh_content, openssh_text
from tests.credential_types.key_material import (
    ENCRYPTION,
    OPENSSH_ENCRYPTION,
    PASSPHRASE,
    WRONG_PASSPHRASE,
    PrivateKey,
    ed25519_key,
    pem,
    rsa_key,
)
from tests.credential_types.refusals import accept, refusal_of, refusal_to_replace, replace
from vault_core.credential_types import TYPES, Accepted

DSA = "is a DSA key; DSA is broken and refused, make an Ed25519 key"
UNSUPPORTED = "is not a key that SSH uses; it must be Ed25519, ECDSA on P-256, P-384 or P-521, or RSA"


def ecdsa(curve: ec.EllipticCurve) -> Callable[[], PrivateKey]:
    return lambda: ec.generate_private_key(curve)


def rsa_of(bits: int) -> Callable[[], PrivateKey]:
    return lambda: rsa_key(bits)


KEYS: list[tuple[Callable[[], PrivateKey], str, int]] = [
    (ed25519_key, "ssh-ed25519", 256),
    (rsa_of(2048), "ssh-rsa", 2048),
    (rsa_of(3072), "ssh-rsa", 3072),
    (ecdsa(ec.SECP256R1()), "ecdsa-sha2-nistp256", 256),
    (ecdsa(ec.SECP384R1()), "ecdsa-sha2-nistp384", 384),
    (ecdsa(ec.SECP521R1()), "ecdsa-sha2-nistp521", 521),
]
FORMATS = [
    (ed25519_key, PrivateFormat.OpenSSH, "OPENSSH PRIVATE KEY"),
    (rsa_of(2048), PrivateFormat.OpenSSH, "OPENSSH PRIVATE KEY"),
    (ecdsa(ec.SECP256R1()), PrivateFormat.OpenSSH, "OPENSSH PRIVATE KEY"),
    (ed25519_key, PrivateFormat.PKCS8, "PRIVATE KEY"),
    (rsa_of(2048), PrivateFormat.PKCS8, "PRIVATE KEY"),
    (rsa_of(2048), PrivateFormat.TraditionalOpenSSL, "RSA PRIVATE KEY"),
    (ecdsa(ec.SECP256R1()), PrivateFormat.TraditionalOpenSSL, "EC PRIVATE KEY"),
]


def accepted(key: PrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> Accepted:
    return accept("ssh-key", privateKey=pem(key, form))


@pytest.mark.parametrize(("make", "algorithm", "size"), KEYS)
def test_the_algorithm_and_the_size_are_told(make: Callable[[], PrivateKey], algorithm: str, size: int) -> None:
    details = accepted(make()).details
    assert (details["algorithm"], details["keySize"]) == (algorithm, size)
    assert details["publicKey"].split(" ")[0] == algorithm
    assert details["hasPassphrase"] is False


@pytest.mark.parametrize(("make", "form", "label"), FORMATS)
def test_a_key_is_read_from_every_format(make: Callable[[], PrivateKey], form: PrivateFormat, label: str) -> None:
    key = make()
    text = pem(key, form)
    assert text.startswith(f"-----BEGIN {label}-----")
    assert accept("ssh-key", privateKey=text).details == accepted(key).details
    assert accept("ssh-key", privateKey=text.replace("\n", "\r\n")).details == accepted(key).details


@pytest.mark.parametrize(("make", "form", "label"), FORMATS)
def test_an_encrypted_key_is_opened_with_its_passphrase(
    make: Callable[[], PrivateKey], form: PrivateFormat, label: str
) -> None:
    key = make()
    text = pem(key, form, OPENSSH_ENCRYPTION if form is PrivateFormat.OpenSSH else ENCRYPTION)
    details = accept("ssh-key", privateKey=text, passphrase=PASSPHRASE).details
    assert details == {**accepted(key).details, "hasPassphrase": True}
    assert refusal_of("ssh-key", privateKey=text) == {"fields.passphrase": "is missing; the key is encrypted"}
    wrong = refusal_of("ssh-key", privateKey=text, passphrase="open barley")
    assert wrong == {"fields.passphrase": WRONG_PASSPHRASE}


@pytest.mark.parametrize(("make", "form", "label"), FORMATS)
def test_a_passphrase_for_a_key_that_has_none_is_refused(
    make: Callable[[], PrivateKey], form: PrivateFormat, label: str
) -> None:
    assert refusal_of("ssh-key", privateKey=pem(make(), form), passphrase=PASSPHRASE) == {
        "fields.passphrase": "is given, but the key is not encrypted; leave it out"
    }


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs the ssh-keygen program")
@pytest.mark.parametrize("kind", [("ed25519", "256"), ("rsa", "2048"), ("ecdsa", "521")])
def test_the_fingerprint_and_the_public_key_are_those_of_ssh_keygen(tmp_path: Path, kind: tuple[str, str]) -> None:
    path = tmp_path / "key"
    made = ["ssh-keygen", "-q", "-t", kind[0], "-b", kind[1], "-N", PASSPHRASE, "-a", "2", "-C", "comment"]
    subprocess.run([*made, "-f", str(path)], check=True)  # noqa: S603
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True)  # noqa: S603, S607
    result = accept("ssh-key", privateKey=path.read_text(), passphrase=PASSPHRASE)
    size, fingerprint, *_ = shown.stdout.split(" ")
    assert (str(result.details["keySize"]), result.details["fingerprint"]) == (size, fingerprint)
    assert f"{result.details['publicKey']} comment\n" == path.with_suffix(".pub").read_text()


def test_the_display_is_the_algorithm_and_the_fingerprint() -> None:
    # The key of RFC 8032 section 7.1, test 1, and its fingerprint as ssh-keygen prints it.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    result = accepted(key)
    assert TYPES["ssh-key"].display(result.details) == (
        "ssh-ed25519 SHA256:bbXpuKG6zhzdmnxq256TlqzFBzRl2f6OOg722cYNbU8"
    )


def test_a_key_made_by_openssl_with_its_parameters_in_front_is_read() -> None:
    parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key = ec.generate_private_key(ec.SECP256R1())
    text = parameters + pem(key, PrivateFormat.TraditionalOpenSSL)
    assert accept("ssh-key", privateKey=text).details == accepted(key).details
    assert "fields.privateKey" in refusal_of("ssh-key", privateKey=parameters)


# Keys of kinds that are refused


def test_dsa_is_refused_in_every_format() -> None:
    key = dsa.generate_private_key(key_size=1024)  # noqa: S505
    openssh = openssh_text(openssh_content(b"ssh-dss"))
    for text in (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode(),
        openssh,
    ):
        assert refusal_of("ssh-key", privateKey=text) == {"fields.privateKey": DSA}


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_short_rsa_key_is_refused(bits: int) -> None:
    assert refusal_of("ssh-key", privateKey=pem(rsa_key(bits))) == {
        "fields.privateKey": "is an RSA key of fewer than 2048 bits"
    }


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1()])
def test_a_curve_that_ssh_does_not_use_is_refused(curve: ec.EllipticCurve) -> None:
    assert refusal_of("ssh-key", privateKey=pem(ec.generate_private_key(curve))) == {"fields.privateKey": UNSUPPORTED}


@pytest.mark.parametrize("make", [ed448.Ed448PrivateKey.generate, x25519.X25519PrivateKey.generate])
def test_an_algorithm_that_ssh_does_not_use_is_refused(
    make: Callable[[], ed448.Ed448PrivateKey | x25519.X25519PrivateKey],
) -> None:
    text = make().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    assert refusal_of("ssh-key", privateKey=text) == {"fields.privateKey": UNSUPPORTED}


def test_a_key_bound_to_a_hardware_token_is_refused() -> None:
    text = openssh_text(openssh_content(b"sk-ssh-ed25519@openssh.com"))
    assert refusal_of("ssh-key", privateKey=text) == {
        "fields.privateKey": "is bound to a hardware token and is of no use without it"
    }


# Texts that hold no key


@pytest.mark.parametrize(
    "text",
    [
        *("not a key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 comment", "-----BEGIN PRIVATE KEY-----", "\n"),
        "-----BEGIN PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n\N{SNOWMAN}\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\n\N{SNOWMAN}\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ],
)
def test_what_is_no_private_key_is_refused(text: str) -> None:
    for extra in ({}, {"passphrase": PASSPHRASE}):
        assert refusal_of("ssh-key", privateKey=text, **extra)


def test_there_must_be_one_key_and_nothing_around_it() -> None:
    text = pem(ed25519_key())
    for crowded in (text + text, text * 3, f"comment\n{text}", f"{text}trailing"):
        assert list(refusal_of("ssh-key", privateKey=crowded)) == ["fields.privateKey"]
    assert accept("ssh-key", privateKey=f"\n  \n{text}\n\n").details["algorithm"] == "ssh-ed25519"


# Replacement


def test_a_key_may_be_replaced_by_another_of_the_same_strength() -> None:
    replace("ssh-key", accepted(ed25519_key()), accepted(ed25519_key()))


def test_a_key_is_not_replaced_by_itself_even_in_another_form() -> None:
    key = ed25519_key()
    same = accept("ssh-key", privateKey=pem(key, PrivateFormat.PKCS8, ENCRYPTION), passphrase=PASSPHRASE)
    assert refusal_to_replace("ssh-key", accepted(key, PrivateFormat.OpenSSH), same) == {
        "fields.privateKey": "is the same key; make a new one"
    }


STRONGER_FIRST = [
    (rsa_of(3072), rsa_of(2048)),
    (ed25519_key, rsa_of(2048)),
    (ecdsa(ec.SECP256R1()), rsa_of(2048)),
    (ecdsa(ec.SECP384R1()), ed25519_key),
    (ecdsa(ec.SECP384R1()), rsa_of(3072)),
    (ecdsa(ec.SECP521R1()), ecdsa(ec.SECP384R1())),
]


@pytest.mark.parametrize(("stronger", "weaker"), STRONGER_FIRST)
def test_a_key_is_not_replaced_by_a_weaker_one(
    stronger: Callable[[], PrivateKey], weaker: Callable[[], PrivateKey]
) -> None:
    faults = refusal_to_replace("ssh-key", accepted(stronger()), accepted(weaker()))
    assert faults["fields.privateKey"].startswith("is weaker than")
    replace("ssh-key", accepted(weaker()), accepted(stronger()))


def test_rsa_may_give_way_to_an_elliptic_curve_of_the_same_class_but_not_to_shorter_rsa() -> None:
    rsa_4096 = accepted(rsa_key(4096))
    replace("ssh-key", rsa_4096, accepted(ed25519_key()))
    assert refusal_to_replace("ssh-key", rsa_4096, accepted(rsa_key(3072)))
