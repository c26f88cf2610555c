"""Keys and certificates made for the tests; RSA keys once a run, because they are slow to make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from tests.credential_types.refusals import NOW

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
DAY = timedelta(days=1)

PASSPHRASE = "open sesame"
ENCRYPTION = BestAvailableEncryption(PASSPHRASE.encode())
OPENSSH_ENCRYPTION = (
    PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(PASSPHRASE.encode())  # one round, to be quick
)
WRONG_PASSPHRASE = "does not open the key: it is the wrong one, or the key is damaged"


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def ed25519_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def pem(
    key: PrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    encryption: KeySerializationEncryption | None = None,
) -> str:
    return key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        return pem(self.key)

    @property
    def fields(self) -> dict[str, str]:
        return {"certificate": self.pem, "privateKey": self.key_pem}


def common_name(text: str | None) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def issue(
    name: str | None = "api.example.com",
    sans: Sequence[x509.GeneralName] = (),
    *,
    by: Issued | None = None,
    authority: bool | None = None,
    extension: x509.ExtensionType | None = None,
    not_before: datetime = NOW - DAY,
    not_after: datetime = NOW + 90 * DAY,
) -> Issued:
    """Issue a certificate; `authority` None leaves the basic constraints out."""
    key = ed25519_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(by.certificate.subject if by else common_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, path_length=None), critical=True)
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    signer = by.key if by else key
    assert isinstance(signer, ed25519.Ed25519PrivateKey)
    return Issued(builder.sign(signer, algorithm=None), key)


def dns(*names: str) -> list[x509.GeneralName]:
    return [x509.DNSName(name) for name in names]
