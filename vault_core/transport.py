"""Transport encryption: values that travel under an RSA key, and the form in which such keys are shown.

A public key is base64 of .NET's XML form, `<RSAKeyValue><Modulus>…</Modulus><Exponent>…</Exponent></RSAKeyValue>`,
the two numbers big-endian in base64. A value is base64 of RSA-OAEP (SHA-256, MGF1 with SHA-256; RFC 8017 §7.1) of its
UTF-8. Some callers do not percent-encode what they put into an address, so wherever base64 is read here, a space
stands for the `+` that it was, line breaks count for nothing, and padding may be missing.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from pydantic import SecretStr

from vault_core.errors import FieldError, InvalidInput

_MAX_TEXT = 8_192  # characters; a key of 8,192 bits takes 2,000 of them
_MODULUS_BITS = range(2048, 8192 + 1)
_EXPONENTS = range(3, 2**32, 2)
_OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
_OAEP_BYTES = 2 * hashes.SHA256.digest_size + 2
_GAP = "[ \t\r\n]*"
_NUMBER = "<(Modulus|Exponent)>([^<>]*)</\\{}>"
# No XML parser reads what a caller sent: there is one form, and what else XML can say has no business here.
_RSA_KEY_VALUE = re.compile(
    rf"{_GAP}(?:<\?xml [^<>]*\?>{_GAP})?"
    rf"<RSAKeyValue>{_GAP}{_NUMBER.format(1)}{_GAP}{_NUMBER.format(3)}{_GAP}</RSAKeyValue>{_GAP}"
)


def public_key_text(public_key: rsa.RSAPublicKey) -> str:
    """Return the key in the form that callers read."""
    numbers = public_key.public_numbers()
    modulus, exponent = _base64_of(numbers.n), _base64_of(numbers.e)
    xml = f"<RSAKeyValue><Modulus>{modulus}</Modulus><Exponent>{exponent}</Exponent></RSAKeyValue>"
    return b64encode(xml.encode()).decode()


def read_public_key(text: str) -> rsa.RSAPublicKey:
    """Return the key that a caller sent: 2,048 to 8,192 bits, an odd exponent of 3 to 2^32-1.

    White space and an XML declaration are accepted, and the two numbers in either order. Raises `InvalidInput`.
    """
    numbers = _numbers(text) if len(text) <= _MAX_TEXT else None
    if numbers is None:
        raise _incorrect("must be base64 of <RSAKeyValue> with the <Modulus> and <Exponent> of a public RSA key")
    if numbers.n.bit_length() not in _MODULUS_BITS or numbers.n % 2 == 0 or numbers.e not in _EXPONENTS:
        raise _incorrect("must be an RSA key of 2048 to 8192 bits with an odd exponent of 3 to 4294967295")
    return numbers.public_key()


def check_same_key(given: str, public_key: rsa.RSAPublicKey) -> None:
    """Return when the caller sent this very key; `InvalidInput` otherwise."""
    if read_public_key(given).public_numbers() != public_key.public_numbers():
        raise _incorrect("must be the public key that the vault shows now; fetch it again")


def encrypted(text: SecretStr, public_key: rsa.RSAPublicKey) -> str:
    """Return the text as only the holder of the private key can read it.

    Raises `InvalidInput` when the text takes more bytes than the key can carry: its own size less 66 bytes.
    """
    plain = text.get_secret_value().encode()
    limit = public_key.key_size // 8 - _OAEP_BYTES
    if len(plain) > limit:
        fault = FieldError("encryptionKey", f"carries values of up to {limit} bytes")
        raise InvalidInput("The value is too long for the encryption key; use a larger key, or none.", (fault,))
    return b64encode(public_key.encrypt(plain, _OAEP)).decode()


def decrypted(box: str, private_key: rsa.RSAPrivateKey) -> SecretStr:
    """Return the text that a caller encrypted to the vault's key. Raises `InvalidInput`, always the same."""
    text = _opened(box, private_key) if len(box) <= _MAX_TEXT else None
    if text is None:
        raise InvalidInput(
            "The value could not be decrypted; encrypt its UTF-8 text with RSA-OAEP (SHA-256, MGF1 with SHA-256)"
            " to the vault's present public key and send it as base64."
        )
    return text


def _opened(box: str, private_key: rsa.RSAPrivateKey) -> SecretStr | None:
    """Return the text or None: a refusal raised from here would carry what was found as its context."""
    try:
        return SecretStr(private_key.decrypt(_from_base64(box.replace(" ", "+")), _OAEP).decode())
    except ValueError:
        return None


def _numbers(text: str) -> rsa.RSAPublicNumbers | None:
    try:
        found = _RSA_KEY_VALUE.fullmatch(_from_base64(text.replace(" ", "+")).decode("ascii"))
        if found is None or found[1] == found[3]:
            return None
        number = {
            name: _from_base64(digits.replace(" ", "")) for name, digits in (found.group(1, 2), found.group(3, 4))
        }
    except ValueError:
        return None
    return rsa.RSAPublicNumbers(n=int.from_bytes(number["Modulus"]), e=int.from_bytes(number["Exponent"]))


def _from_base64(text: str) -> bytes:
    bare = re.sub("[\t\r\n]", "", text).rstrip("=")
    return b64decode(bare + "=" * (-len(bare) % 4), validate=True)


def _base64_of(number: int) -> str:
    return b64encode(number.to_bytes((number.bit_length() + 7) // 8)).decode()


def _incorrect(fault: str) -> InvalidInput:
    return InvalidInput("The encryption key is incorrect", (FieldError("encryptionKey", fault),))
