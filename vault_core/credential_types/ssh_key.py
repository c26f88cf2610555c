"""`ssh-key`: a private key for SSH, with its passphrase when it has one."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, ssh_key_fingerprint

from vault_core.credential_types.given import Fault, Faults, PrimaryValue, read_fields, refused
from vault_core.credential_types.private_keys import DSA_REFUSED, is_encrypted, open_private_key, read_private_key
from vault_core.credential_types.shape import Accepted, CredentialType, Details, Field, Fields
from vault_core.errors import FieldError

MIN_RSA_BITS = 2048

SshPrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_CURVE_BITS = {"secp256r1": 256, "secp384r1": 384, "secp521r1": 521}
_ED25519_BITS = 256
_UNSUPPORTED = "is not a key that SSH uses; it must be Ed25519, ECDSA on P-256, P-384 or P-521, or RSA"
_MISSING_PASSPHRASE = "is missing; the key is encrypted"  # noqa: S105 - a message
_NEEDLESS_PASSPHRASE = "is given, but the key is not encrypted; leave it out"  # noqa: S105 - a message


class SshKey(PrimaryValue):
    """A private key as OPENSSH, PKCS#8, RSA or EC PEM; DSA is refused, and RSA under 2048 bits."""

    name = "ssh-key"
    fields: tuple[Field, ...] = (
        Field("privateKey", "The private key as PEM"),
        Field("passphrase", "What opens the private key when it is encrypted", required=False),
    )

    def accept(self, fields: Fields, now: datetime) -> Accepted:
        """Accept a key that opens, with its passphrase if and only if it is encrypted."""
        given = read_fields(self.name, self.fields, fields)
        faults = Faults(self.name)
        key = faults.attempt("privateKey", lambda: _open(given["privateKey"], given.get("passphrase")))
        faults.refuse_any()
        assert key is not None
        return Accepted(fields, {**_details(key), "hasPassphrase": "passphrase" in given})

    def display(self, details: Details) -> str:
        """Return the algorithm and the fingerprint."""
        return f"{details['algorithm']} {details['fingerprint']}"

    def check_replacement(self, old: Details, new: Details, *, allow_target_change: bool) -> None:
        """Accept another key that is not weaker: neither of lower strength nor a shorter one of its kind.

        Strengths are those of NIST SP 800-57 part 1, table 2, so that Ed25519 may follow RSA of 4096 bits.
        """
        if new["fingerprint"] == old["fingerprint"]:
            raise refused(self.name, _fault("is the same key; make a new one"))
        shorter = new["algorithm"] == old["algorithm"] and new["keySize"] < old["keySize"]
        if shorter or _strength(new) < _strength(old):
            raise refused(self.name, _fault("is weaker than the key to be replaced; make one at least as strong"))


def _fault(message: str) -> FieldError:
    return FieldError("fields.privateKey", message)


def _open(text: str, passphrase: str | None) -> SshPrivateKey:
    block = read_private_key(text)
    encrypted = is_encrypted(block)
    if encrypted and passphrase is None:
        raise Fault(_MISSING_PASSPHRASE, field="passphrase")
    if not encrypted and passphrase is not None:
        raise Fault(_NEEDLESS_PASSPHRASE, field="passphrase")
    return _usable_for_ssh(open_private_key(block, passphrase))


def _usable_for_ssh(key: PrivateKeyTypes) -> SshPrivateKey:
    match key:
        case dsa.DSAPrivateKey():
            raise Fault(DSA_REFUSED)
        case rsa.RSAPrivateKey() if key.key_size < MIN_RSA_BITS:
            raise Fault(f"is an RSA key of fewer than {MIN_RSA_BITS} bits")
        case ec.EllipticCurvePrivateKey() if key.curve.name not in _CURVE_BITS:
            raise Fault(_UNSUPPORTED)
        case rsa.RSAPrivateKey() | ec.EllipticCurvePrivateKey() | ed25519.Ed25519PrivateKey():
            return key
    raise Fault(_UNSUPPORTED)


def _details(key: SshPrivateKey) -> dict[str, object]:
    public = key.public_key()
    line = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    fingerprint = b64encode(ssh_key_fingerprint(public, SHA256())).decode().rstrip("=")
    return {
        "algorithm": line.split(" ")[0],
        "keySize": _ED25519_BITS if isinstance(key, ed25519.Ed25519PrivateKey) else key.key_size,
        "fingerprint": f"SHA256:{fingerprint}",
        "publicKey": line,
    }


_RSA_STRENGTHS = {15_360: 256, 7_680: 192, 3_072: 128, 2_048: 112}


def _strength(details: Details) -> int:
    """Return the security strength in bits; half the size of the group on elliptic curves."""
    bits: int = details["keySize"]
    if details["algorithm"] == "ssh-rsa":
        return next(strength for least, strength in _RSA_STRENGTHS.items() if bits >= least)
    return min(bits // 2, 256)


TYPE: CredentialType = SshKey()
