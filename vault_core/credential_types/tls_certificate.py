"""`tls-certificate`: a certificate, its private key, and the certificates above it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from vault_core.credential_types.given import Fault, Faults, instant_text, read_fields, refused
from vault_core.credential_types.pem import Block, read_blocks
from vault_core.credential_types.private_keys import is_encrypted, open_private_key, read_private_key
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields
from vault_core.errors import FieldError, ValueRefused

MAX_CHAIN = 10
MAX_NAMES = 250
MAX_DISTINGUISHED_NAME = 1_024
MAX_VALUE_CHARACTERS = 50_000
"""The longest `value` that is read as JSON: its fields, and room for the escapes."""
CLOCK_SKEW = timedelta(minutes=5)
"""How far in the future `notBefore` may lie: the issuer's clock may be ahead."""

_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_UNREADABLE = "is a certificate that cannot be read"
_NOT_FIELDS = "must be the JSON text of an object with the fields certificate, privateKey and, if any, chain"


class TlsCertificate:
    """A certificate of X.509 (RFC 5280) that is valid now, with its key, and its chain from leaf to root."""

    name = "tls-certificate"
    fields: tuple[Field, ...] = (
        Field("certificate", "The certificate as PEM", secret=False),
        Field("privateKey", "Its private key as PEM, not encrypted"),
        Field("chain", "The certificates above it as PEM, its issuer first", required=False, secret=False),
    )

    def parse(self, value: SecretStr) -> Fields:
        """Return the fields from the JSON text of an object of strings."""
        fields = _strings_of_json(value.get_secret_value())
        if fields is None:
            raise ValueRefused(f"The value {_NOT_FIELDS}.", (FieldError("value", _NOT_FIELDS),))
        return {name: SecretStr(text) for name, text in fields.items()}

    def render(self, fields: Fields) -> SecretStr:
        """Return the JSON text of the fields."""
        return SecretStr(json.dumps({name: text.get_secret_value() for name, text in fields.items()}))

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept a certificate that is valid at `now`, whose key is given and whose chain, if any, holds.

        Each certificate of the chain (1 to 10) is an authority that issued and signed the one before, the
        first the certificate itself; the root may be left out. Only the certificate's own dates are judged: an
        old root in a chain is common and harmless. One that is not valid yet is refused, because a rotation
        takes effect at once.
        """
        given = read_fields(self.name, self.fields, fields)
        faults = Faults(self.name)
        leaf = faults.attempt("certificate", lambda: _leaf(given["certificate"]))
        details = faults.attempt("certificate", lambda: _details(leaf, now)) if leaf else None
        key = faults.attempt("privateKey", lambda: _key(given["privateKey"]))
        if leaf and key:
            faults.attempt("privateKey", lambda: _check_pair(leaf, key))
        if "chain" in given:
            faults.attempt("chain", lambda: _check_chain(leaf, given["chain"]))
        faults.refuse_any()
        assert leaf is not None
        assert details is not None
        return Accepted(fields, details, leaf.not_valid_after_utc)

    def display(self, details: Details) -> str:
        """Return whom the certificate names and when it ends."""
        common_name = details["commonName"]
        subject = f"CN={common_name}" if common_name else next(iter(details["sans"]), details["subject"])
        return f"{subject}, expires {details['notAfter']}"

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept a certificate that ends later and covers every name of the old one.

        The names are the subject's alternative names, or its common name when there are none. A wildcard
        covers one label: `*.example.com` covers `api.example.com`.
        """
        if datetime.fromisoformat(new["notAfter"]) <= datetime.fromisoformat(old["notAfter"]):
            message = "does not end later than the certificate to be replaced"
            raise refused(self.name, FieldError("fields.certificate", message))
        covering = _names(new)
        missing = [name for name in _names(old) if not _covers(covering, name)]
        if missing:
            message = f"does not cover {len(missing)} of the names of the certificate to be replaced"
            raise refused(self.name, FieldError("fields.certificate", message))


def _strings_of_json(text: str) -> dict[str, str] | None:
    if len(text) > MAX_VALUE_CHARACTERS:
        return None
    try:
        found = json.loads(text, object_pairs_hook=_object_without_repeats)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not all(isinstance(part, str) for part in found.values()):
        return None
    return found


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _leaf(text: str) -> x509.Certificate:
    blocks = read_blocks(text, most=MAX_CHAIN + 1)
    if len(blocks) != 1:
        raise Fault("must hold one certificate; put those above it in `chain`")
    return _certificate(blocks[0])


def _certificate(block: Block) -> x509.Certificate:
    if block.label != "CERTIFICATE":
        raise Fault("must hold nothing but certificates")
    try:
        return x509.load_der_x509_certificate(block.content())
    except _MALFORMED:
        raise Fault(_UNREADABLE) from None


def _key(text: str) -> PrivateKeyTypes:
    block = read_private_key(text)
    if block.label == "OPENSSH PRIVATE KEY":
        raise Fault("is in the format of OpenSSH, which TLS does not use; convert it to PKCS#8")
    if is_encrypted(block):
        raise Fault("is encrypted; give it decrypted, the vault encrypts it")
    return open_private_key(block, None)


def _check_pair(leaf: x509.Certificate, key: PrivateKeyTypes) -> None:
    try:
        certified = _public_bytes(leaf.public_key())
    except _MALFORMED:
        raise Fault("cannot be compared: the certificate is for an unknown kind of key") from None
    if certified != _public_bytes(key.public_key()):
        raise Fault("does not belong to the certificate")


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_chain(leaf: x509.Certificate | None, text: str) -> None:
    chain = [_certificate(block) for block in read_blocks(text, most=MAX_CHAIN)]
    links = [leaf, *chain] if leaf else chain
    for position, (issued, issuer) in enumerate(pairwise(links), start=1):
        if not _issued_by(issued, issuer):
            raise Fault(f"breaks at certificate {position}: it did not issue the one before; order it leaf to root")


def _issued_by(issued: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
        return _is_authority(issuer)
    except (*_MALFORMED, InvalidSignature):
        return False


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version == x509.Version.v1  # old roots carry no extensions at all


def _details(leaf: x509.Certificate, now: datetime) -> dict[str, object]:
    try:
        details = _read_details(leaf)
    except _MALFORMED:
        raise Fault(_UNREADABLE) from None
    if leaf.not_valid_after_utc <= now:
        raise Fault("has expired; get a new certificate")
    if leaf.not_valid_before_utc > now + CLOCK_SKEW:
        raise Fault("is not valid yet; store it when it is")
    return details


def _read_details(leaf: x509.Certificate) -> dict[str, object]:
    subject, issuer = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
    if max(len(subject), len(issuer)) > MAX_DISTINGUISHED_NAME:
        raise Fault(f"has a subject or issuer of more than {MAX_DISTINGUISHED_NAME} characters")
    serial = f"{leaf.serial_number:X}"
    return {
        "subject": subject,
        "commonName": next(iter(_common_names(leaf.subject)), None),
        "issuer": issuer,
        "notBefore": instant_text(leaf.not_valid_before_utc),
        "notAfter": instant_text(leaf.not_valid_after_utc),
        "sans": _sans(leaf),
        "serialNumber": serial.zfill(len(serial) + len(serial) % 2),
        "fingerprint": leaf.fingerprint(SHA256()).hex(":").upper(),
    }


def _common_names(subject: x509.Name) -> Iterable[str]:
    found = subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return [attribute.value for attribute in found if isinstance(attribute.value, str)]


def _sans(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    shown = [_shown(name) for name in names]
    if len(shown) > MAX_NAMES:
        raise Fault(f"has more than {MAX_NAMES} alternative names")
    return shown


def _shown(name: x509.GeneralName) -> str:
    match name:
        case x509.DNSName():
            return f"DNS:{name.value}"
        case x509.IPAddress():
            return f"IP:{name.value}"
        case x509.RFC822Name():
            return f"email:{name.value}"
        case x509.UniformResourceIdentifier():
            return f"URI:{name.value}"
        case x509.DirectoryName():
            return f"DirName:{name.value.rfc4514_string()}"
        case x509.RegisteredID():
            return f"RID:{name.value.dotted_string}"
        case x509.OtherName():
            return f"othername:{name.type_id.dotted_string}:{name.value.hex()}"
    raise Fault(_UNREADABLE)


def _names(details: Details) -> set[str]:
    common_name = details["commonName"]
    names = details["sans"] or ([f"DNS:{common_name}"] if common_name else [])
    return {name.lower() if name.startswith("DNS:") else name for name in names}


def _covers(covering: set[str], name: str) -> bool:
    _, _, domain = name.removeprefix("dns:").partition(".")
    return name in covering or (name.startswith("dns:") and f"dns:*.{domain}" in covering)


TYPE: CredentialType = TlsCertificate()
