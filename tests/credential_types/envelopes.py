"""The clear parts of encrypted private keys, made by hand so that they can ask for any amount of work."""

from __future__ import annotations

from base64 import b64encode

from cryptography import x509
from cryptography.hazmat import asn1


def openssh_content(key_type: bytes, *, rounds: int | None = None) -> bytes:
    def string(content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + content

    if rounds is None:
        clear = string(b"none") + string(b"none") + string(b"")
    else:
        options = string(b"salt" * 4) + rounds.to_bytes(4, "big")
        clear = string(b"aes256-ctr") + string(b"bcrypt") + string(options)
    public = string(key_type) + string(b"p" * 32)
    return b"openssh-key-v1\0" + clear + (1).to_bytes(4, "big") + string(public) + string(b"\x00" * 64)


def openssh_text(content: bytes) -> str:
    return pem_text("OPENSSH PRIVATE KEY", content)


def pem_text(label: str, content: bytes) -> str:
    return f"-----BEGIN {label}-----\n{b64encode(content).decode()}\n-----END {label}-----\n"


def _der(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    assert len(content) < 256
    length = [len(content)] if len(content) < 128 else [0x81, len(content)]
    return bytes([tag, *length]) + content


def _integer(number: int) -> bytes:
    return _der(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _name(dotted: str) -> bytes:
    return asn1.encode_der(x509.ObjectIdentifier(dotted))


def encrypted_pkcs8(derivation: bytes, parameters: bytes) -> str:
    aes = _der(0x30, _name("2.16.840.1.101.3.4.1.42"), _der(4, b"i" * 16))
    scheme = _der(0x30, _name("1.2.840.113549.1.5.13"), _der(0x30, _der(0x30, derivation, parameters), aes))
    return _encrypted_text(scheme)


def _encrypted_text(scheme: bytes) -> str:
    return pem_text("ENCRYPTED PRIVATE KEY", _der(0x30, scheme, _der(4, b"c" * 48)))


def pbkdf2(iterations: int) -> str:
    parameters = _der(0x30, _der(4, b"salt" * 4), _integer(iterations))
    return encrypted_pkcs8(_name("1.2.840.113549.1.5.12"), parameters)


def scrypt(cost: int, block_size: int, parallelism: int) -> str:
    numbers = (_integer(number) for number in (cost, block_size, parallelism))
    return encrypted_pkcs8(_name("1.3.6.1.4.1.11591.4.11"), _der(0x30, _der(4, b"salt" * 4), *numbers))


def pbes1(iterations: int) -> str:
    parameters = _der(0x30, _der(4, b"saltsalt"), _integer(iterations))
    return _encrypted_text(_der(0x30, _name("1.2.840.113549.1.12.1.3"), parameters))


UNKNOWN_DERIVATION = encrypted_pkcs8(_name("1.2.3.4"), _der(0x30, _integer(1)))
