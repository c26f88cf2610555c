"""Opening private keys from PEM, with the work bounded before it is begun.

A key's envelope says how much work its passphrase costs, and the library obeys; so the envelope is read
first and an extravagant one is refused. Checking that the primes of an RSA key are prime takes the library 6
seconds at 8192 bits and 40 at 16384, so an RSA key is checked by the arithmetic that holds between its numbers.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_pem_private_key,
    load_ssh_private_key,
)

from vault_core.credential_types.given import Fault
from vault_core.credential_types.pem import Block, read_blocks

MAX_BCRYPT_ROUNDS = 128
"""About 1.3 seconds of work; `ssh-keygen` uses 16 or 24 unless told."""
MAX_ITERATIONS = 1_000_000
"""About 0.4 seconds of work; `openssl` uses 2048 unless told."""
MAX_SCRYPT_BYTES = 64 * 1024 * 1024
"""Memory times parallelism, about 0.3 seconds of work; `openssl` uses 16 MiB unless told."""
MAX_RSA_BITS = 16_384

_OPENSSH = "OPENSSH PRIVATE KEY"
_ENCRYPTED = "ENCRYPTED PRIVATE KEY"
_FORMATS = (_OPENSSH, _ENCRYPTED, "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
DSA_REFUSED = "is a DSA key; DSA is broken and refused, make an Ed25519 key"
_DAMAGED = "cannot be read; check that the key is whole and of a supported kind"
_EXTRAVAGANT = "asks for too much work to open; encrypt it again with the usual cost"
_NOT_OPENED = "does not open the key: it is the wrong one, or the key is damaged"
_OPENSSH_MAGIC = b"openssh-key-v1\0"


def read_private_key(text: str) -> Block:
    """Return the one private key in the text, unopened; `Fault` when there is none of a known format."""
    blocks = read_blocks(text, most=2)
    if blocks[0].label == "EC PARAMETERS":  # what `openssl ecparam -genkey` writes first; the key repeats it
        blocks = blocks[1:]
    if len(blocks) != 1:
        raise Fault("must hold exactly one private key")
    block = blocks[0]
    if block.label == "DSA PRIVATE KEY":
        raise Fault(DSA_REFUSED)
    if block.label not in _FORMATS:
        raise Fault("is no private key: its PEM label must be one of " + ", ".join(_FORMATS))
    return block


def is_encrypted(block: Block) -> bool:
    """Tell whether the key needs a passphrase."""
    if block.label == _OPENSSH:
        return _OpenSshEnvelope(block.content()).cipher != b"none"
    return block.label == _ENCRYPTED or "Proc-Type: 4,ENCRYPTED" in block.body


def open_private_key(block: Block, passphrase: str | None) -> PrivateKeyTypes:
    """Return the key; give a passphrase if and only if it is encrypted.

    `Fault` when the key is damaged, a DSA key, an RSA key over 16384 bits, or costs too much to open: over
    128 rounds of bcrypt, 1,000,000 iterations of PBKDF2, or 64 MiB of scrypt. `Fault` with the field
    `passphrase` when an encrypted key does not open.
    """
    _check_cost(block)
    secret = None if passphrase is None else passphrase.encode()
    try:
        key = _load(block, secret)
    except UnsupportedAlgorithm:
        raise Fault(_DAMAGED) from None
    except (ValueError, TypeError, InvalidTag):
        raise Fault(_DAMAGED) if passphrase is None else Fault(_NOT_OPENED, field="passphrase") from None
    if isinstance(key, rsa.RSAPrivateKey):
        _check_rsa(key)
    return key


def _load(block: Block, secret: bytes | None) -> PrivateKeyTypes:
    if block.label == _OPENSSH:
        return load_ssh_private_key(block.text.encode(), secret, unsafe_skip_rsa_key_validation=True)
    if block.label in (_ENCRYPTED, "PRIVATE KEY"):
        return load_der_private_key(block.content(), secret, unsafe_skip_rsa_key_validation=True)
    return load_pem_private_key(block.text.encode(), secret, unsafe_skip_rsa_key_validation=True)


def _check_rsa(key: rsa.RSAPrivateKey) -> None:
    if key.key_size > MAX_RSA_BITS:
        raise Fault(f"is an RSA key of more than {MAX_RSA_BITS} bits")
    numbers = key.private_numbers()
    p, q, public = numbers.p, numbers.q, numbers.public_numbers
    consistent = (
        min(p, q) > 2
        and p * q == public.n
        and numbers.d * public.e % (p - 1) == 1
        and numbers.d * public.e % (q - 1) == 1
        and numbers.dmp1 == numbers.d % (p - 1)
        and numbers.dmq1 == numbers.d % (q - 1)
        and numbers.iqmp * q % p == 1
    )
    if not consistent:
        raise Fault(_DAMAGED)


def _check_cost(block: Block) -> None:
    if block.label == _OPENSSH:
        _OpenSshEnvelope(block.content()).check()
    elif block.label == _ENCRYPTED:
        try:
            affordable = _is_affordable(block.content())
        except ValueError:
            raise Fault(_DAMAGED) from None
        if not affordable:
            raise Fault(_EXTRAVAGANT)


class _OpenSshEnvelope:
    """The clear part of an OpenSSH private key: cipher, cost of the passphrase, type of key."""

    def __init__(self, content: bytes) -> None:
        if not content.startswith(_OPENSSH_MAGIC):
            raise Fault(_DAMAGED)
        self.cipher, rest = _ssh_string(content[len(_OPENSSH_MAGIC) :])
        self.derivation, rest = _ssh_string(rest)
        self.options, rest = _ssh_string(rest)
        public_key, _ = _ssh_string(rest[4:])  # behind the number of keys
        self.key_type, _ = _ssh_string(public_key)

    def check(self) -> None:
        if self.key_type == b"ssh-dss":
            raise Fault(DSA_REFUSED)
        if self.key_type.startswith(b"sk-"):
            raise Fault("is bound to a hardware token and is of no use without it")
        if self.derivation == b"bcrypt":
            _, rounds = _ssh_string(self.options)
            if int.from_bytes(rounds, "big") > MAX_BCRYPT_ROUNDS:
                raise Fault(_EXTRAVAGANT)


def _ssh_string(data: bytes) -> tuple[bytes, bytes]:
    """Split a string of RFC 4251 section 5 off the data."""
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise Fault(_DAMAGED)
    return data[4:end], data[end:]


# RFC 5958, RFC 8018 and RFC 7914: the part of PKCS#8 that says what opening it costs.
_PBES2 = x509.ObjectIdentifier("1.2.840.113549.1.5.13")
_PBKDF2 = x509.ObjectIdentifier("1.2.840.113549.1.5.12")
_SCRYPT = x509.ObjectIdentifier("1.3.6.1.4.1.11591.4.11")


@asn1.sequence
class _Algorithm:
    name: x509.ObjectIdentifier
    parameters: asn1.TLV


@asn1.sequence
class _EncryptedKey:
    algorithm: _Algorithm
    content: bytes


@asn1.sequence
class _Pbes1:
    salt: bytes
    iterations: int


@asn1.sequence
class _Pbes2:
    derivation: _Algorithm
    cipher: _Algorithm


@asn1.sequence
class _Pbkdf2:
    salt: bytes
    iterations: int
    key_length: int | None
    function: _Algorithm | None


@asn1.sequence
class _Scrypt:
    salt: bytes
    cost: int
    block_size: int
    parallelism: int
    key_length: int | None


def _is_affordable(content: bytes) -> bool:
    """Tell whether the cost is within bounds; `ValueError` when the envelope is none that is known."""
    algorithm = asn1.decode_der(_EncryptedKey, content).algorithm
    if algorithm.name != _PBES2:
        pbes1: _Pbes1 = algorithm.parameters.parse(_Pbes1)
        return pbes1.iterations <= MAX_ITERATIONS
    derivation: _Algorithm = algorithm.parameters.parse(_Pbes2).derivation
    if derivation.name == _PBKDF2:
        pbkdf2: _Pbkdf2 = derivation.parameters.parse(_Pbkdf2)
        return pbkdf2.iterations <= MAX_ITERATIONS
    if derivation.name == _SCRYPT:
        scrypt: _Scrypt = derivation.parameters.parse(_Scrypt)
        return 128 * scrypt.cost * scrypt.block_size * scrypt.parallelism <= MAX_SCRYPT_BYTES
    return False
