"""Transport encryption: keys and values in the form that callers of the other vault send and read."""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from functools import cache
from itertools import count
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from vault_core.errors import InvalidInput
from vault_core.transport import check_same_key, decrypted, encrypted, public_key_text, read_public_key

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
ODD_MODULI = st.integers(2**2047, 2**8192 - 1).map(lambda number: number | 1)
ODD_EXPONENTS = st.integers(3, 2**32 - 1).map(lambda number: number | 1)


@cache
def private_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def public_key(modulus: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(exponent, modulus).public_key()


def digits(number: int) -> str:
    return b64encode(number.to_bytes(max(1, (number.bit_length() + 7) // 8))).decode()


def xml_of(modulus: int, exponent: int = 65537) -> str:
    return f"<RSAKeyValue><Modulus>{digits(modulus)}</Modulus><Exponent>{digits(exponent)}</Exponent></RSAKeyValue>"


def sent(xml: str) -> str:
    return b64encode(xml.encode()).decode()


def as_a_client_reads_it(text: str) -> rsa.RSAPublicKey:
    """Read the key as the vendor's Python client does, with an XML parser."""
    root = ElementTree.fromstring(b64decode(text, validate=True))  # noqa: S314 - what the vault wrote
    modulus, exponent = (b64decode(root.findtext(name) or "") for name in ("Modulus", "Exponent"))
    return public_key(int.from_bytes(modulus), int.from_bytes(exponent))


def refusal(text: str) -> str:
    """Try to read the key; return what the refusal says of it."""
    with pytest.raises(InvalidInput) as refused:
        read_public_key(text)
    assert refused.value.detail == "The encryption key is incorrect"
    assert refused.value.__cause__ is refused.value.__context__ is None
    [fault] = refused.value.errors
    assert fault.field == "encryptionKey"
    return fault.message


N = private_key().public_key().public_numbers().n
TEXT = public_key_text(private_key().public_key())


class TestPublicKeys:
    @given(ODD_MODULI, ODD_EXPONENTS)
    def test_a_client_reads_the_key_that_was_shown(self, modulus: int, exponent: int) -> None:
        key = public_key(modulus, exponent)
        assert as_a_client_reads_it(public_key_text(key)) == key

    @given(ODD_MODULI, ODD_EXPONENTS)
    def test_a_key_that_was_shown_is_read_as_the_same(self, modulus: int, exponent: int) -> None:
        key = public_key(modulus, exponent)
        assert read_public_key(public_key_text(key)) == key

    @given(ODD_MODULI, st.integers(1, 100), st.sampled_from(["\n", "\r\n", "\t"]))
    def test_a_key_is_read_with_spaces_for_plus_signs_in_lines_and_without_padding(
        self, modulus: int, width: int, line_break: str
    ) -> None:
        text = sent(xml_of(modulus)).replace("+", " ").rstrip("=")
        lines = line_break.join(text[at : at + width] for at in range(0, len(text), width))
        assert read_public_key(lines).public_numbers().n == modulus

    def test_a_plus_sign_that_ends_the_text_may_have_become_a_space(self) -> None:
        text = sent(" " * (-len(xml_of(N)) % 3) + xml_of(N))
        assert text.endswith("+")
        assert read_public_key(text.replace("+", " ")).public_numbers().n == N

    @pytest.mark.parametrize(
        "xml",
        [
            f'<?xml version="1.0" encoding="utf-8"?>\n{xml_of(N)}\n',
            xml_of(N).replace("><", ">\r\n  <"),
            xml_of(N).replace("<Modulus>", "<Modulus>\n  ").replace("</Modulus>", "\n</Modulus>"),
            f"<RSAKeyValue><Exponent>AQAB</Exponent><Modulus>{digits(N)}</Modulus></RSAKeyValue>",
            f"<RSAKeyValue><Modulus>AAAA{digits(N)}</Modulus><Exponent>AAEAAQ==</Exponent></RSAKeyValue>",
            f"<RSAKeyValue><Modulus>{digits(N).rstrip('=')}</Modulus><Exponent>AAEAAQ</Exponent></RSAKeyValue>",
        ],
        ids=["declaration", "indented", "wrapped", "exponent first", "leading zeros", "no padding inside"],
    )
    def test_every_way_to_write_the_form_is_read(self, xml: str) -> None:
        assert read_public_key(sent(xml)) == private_key().public_key()

    @pytest.mark.parametrize(
        "xml",
        [
            "",
            "not XML",
            "<RSAKeyValue></RSAKeyValue>",
            xml_of(N).replace("RSAKeyValue", "KeyValue"),
            xml_of(N).replace("</RSAKeyValue>", ""),
            xml_of(N) + xml_of(N),
            xml_of(N).replace("Exponent", "Modulus"),
            xml_of(N).replace("Exponent", "exponent"),
            xml_of(N).replace("</Exponent>", "</Exponent><D>AQAB</D>"),
            xml_of(N).replace("<Modulus>", "<Modulus/><Modulus>"),
            xml_of(N).replace("<Exponent>", "<Exponent><!-- -->"),
            xml_of(N).replace(digits(N), f"<![CDATA[{digits(N)}]]>"),
            xml_of(N).replace(digits(N), f"<Modulus>{digits(N)}</Modulus>"),
            xml_of(N).replace("AQAB", "AQ&#65;B"),
            xml_of(N).replace("AQAB", "A=AB"),
            xml_of(N).replace("AQAB", "AQAB!"),
            xml_of(N).replace("AQAB", "AQABA"),
            xml_of(N).replace("AQAB", "ÄQAB"),
            f'<!DOCTYPE RSAKeyValue [<!ENTITY e "AQAB">]>{xml_of(N).replace("AQAB", "&e;")}',
            f'<!DOCTYPE RSAKeyValue [<!ENTITY e SYSTEM "file:///etc/hostname">]>{xml_of(N).replace("AQAB", "&e;")}',
            f"<?xml version='1.0'?><!DOCTYPE RSAKeyValue SYSTEM 'http://127.0.0.1/'>{xml_of(N)}",
            f"<?xml version='1.0'?><?xml version='1.0'?>{xml_of(N)}",
            "<RSAKeyValue>" * 200 + "</RSAKeyValue>" * 200,
            "\ufeff" + xml_of(N),
            "\0" + xml_of(N),
        ],
        ids=count(),
    )
    def test_whatever_else_xml_can_say_is_refused(self, xml: str) -> None:
        assert "must be base64 of <RSAKeyValue>" in refusal(sent(xml))

    @pytest.mark.parametrize(
        "text", ["", "=", "A", "no base64!", xml_of(N), "Ä" * 40, "\ud800", TEXT + "A", TEXT[4:]], ids=count()
    )
    def test_what_is_no_base64_of_the_form_is_refused(self, text: str) -> None:
        assert "must be base64 of <RSAKeyValue>" in refusal(text)

    @pytest.mark.parametrize(
        ("modulus", "exponent"),
        [
            (0, 65537),
            (1, 65537),
            (2**1024 + 1, 65537),
            (2**2047 - 1, 65537),
            (2**2047, 65537),
            (2**8192 + 1, 65537),
            (N, 0),
            (N, 1),
            (N, 2),
            (N, 65536),
            (N, 2**32 + 1),
            (N, N),
        ],
        ids=count(),
    )
    def test_a_key_of_a_wrong_size_or_an_even_number_is_refused(self, modulus: int, exponent: int) -> None:
        assert "2048 to 8192 bits with an odd exponent" in refusal(sent(xml_of(modulus, exponent)))

    @pytest.mark.parametrize(("modulus", "exponent"), [(2**2047 + 1, 3), (2**8192 - 1, 2**32 - 1)], ids=["min", "max"])
    def test_a_key_at_the_limits_is_read_and_used(self, modulus: int, exponent: int) -> None:
        key = read_public_key(sent(xml_of(modulus, exponent)))
        assert len(b64decode(encrypted(SecretStr("value"), key))) == key.key_size // 8

    @given(st.text() | st.binary().map(lambda box: b64encode(box).decode()))
    def test_anything_else_is_refused_and_not_quoted(self, text: str) -> None:
        assert refusal(text) == refusal("none")

    @given(st.integers(0, len(xml_of(N))), st.text("<>&;![]?/ \nADRSModulusE=", max_size=8))
    def test_a_form_that_was_tampered_with_is_refused_or_read_as_a_permitted_key(self, at: int, more: str) -> None:
        xml = xml_of(N)
        try:
            numbers = read_public_key(sent(xml[:at] + more + xml[at:])).public_numbers()
        except InvalidInput:
            return
        assert 2048 <= numbers.n.bit_length() <= 8192
        assert numbers.n % 2 == numbers.e % 2 == 1

    @pytest.mark.parametrize(
        "xml",
        [
            " " * 5_000_000,
            "<?xml " + "?" * 5_000_000,
            "<RSAKeyValue>" + "<Modulus>" * 500_000,
            "<RSAKeyValue><Modulus>" + "A" * 5_000_000,
            "<?xml " + "?" * 6_000,
            " " * 6_000,
            "<RSAKeyValue>" + "\n" * 6_000,
            "<RSAKeyValue><Modulus>" + " A" * 3_000,
        ],
        ids=lambda xml: f"{xml[:24].strip()}-{len(xml)}",
    )
    def test_a_huge_or_winding_text_costs_next_to_nothing(self, xml: str) -> None:
        text = sent(xml)
        began = time.process_time()
        refusal(text)
        assert time.process_time() - began < 0.1


class TestTheSameKey:
    @pytest.mark.parametrize(
        "given",
        [TEXT, TEXT.replace("+", " "), TEXT.rstrip("="), f"{TEXT}\n", sent(xml_of(N).replace("><", ">\n<"))],
        ids=["as shown", "spaces", "no padding", "line break", "indented"],
    )
    def test_the_key_is_recognised_however_it_is_written(self, given: str) -> None:
        check_same_key(given, private_key().public_key())

    @pytest.mark.parametrize(
        "given", [sent(xml_of(N + 2)), sent(xml_of(N, 3)), "", "none"], ids=["modulus", "exponent", "empty", "none"]
    )
    def test_another_key_is_incorrect(self, given: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            check_same_key(given, private_key().public_key())
        assert refused.value.detail == "The encryption key is incorrect"
        assert [fault.field for fault in refused.value.errors] == ["encryptionKey"]


class TestValues:
    @given(st.text(max_size=47))
    def test_the_holder_of_the_private_key_reads_what_was_encrypted(self, text: str) -> None:
        box = encrypted(SecretStr(text), private_key().public_key())
        assert private_key().decrypt(b64decode(box, validate=True), OAEP).decode() == text

    @given(st.text(max_size=47))
    def test_what_a_client_encrypted_is_read(self, text: str) -> None:
        box = as_a_client_reads_it(TEXT).encrypt(text.encode(), OAEP)
        assert decrypted(b64encode(box).decode(), private_key()).get_secret_value() == text

    def test_a_box_is_read_with_spaces_for_plus_signs_in_lines_and_without_padding(self) -> None:
        boxes = (encrypted(SecretStr("value"), private_key().public_key()) for _ in range(100))
        box = next(box for box in boxes if "+" in box)
        lines = "\r\n".join(box[at : at + 76] for at in range(0, len(box), 76))
        assert decrypted(lines.replace("+", " ").rstrip("="), private_key()).get_secret_value() == "value"

    @pytest.mark.parametrize(("bits", "limit"), [(2048, 190), (3072, 318)])
    def test_a_value_is_as_long_as_the_key_can_carry(self, bits: int, limit: int) -> None:
        key = private_key(bits)
        longest = "ä" * (limit // 2)
        assert decrypted(encrypted(SecretStr(longest), key.public_key()), key).get_secret_value() == longest
        with pytest.raises(InvalidInput, match="too long for the encryption key") as refused:
            encrypted(SecretStr(longest + "x"), key.public_key())
        assert [fault.message for fault in refused.value.errors] == [f"carries values of up to {limit} bytes"]

    def test_equal_values_do_not_look_equal(self) -> None:
        key = private_key().public_key()
        assert encrypted(SecretStr("value"), key) != encrypted(SecretStr("value"), key)

    def test_every_fault_of_a_box_looks_the_same(self) -> None:
        key = private_key()
        sha512 = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA512(), label=None)
        good = b64decode(encrypted(SecretStr("value"), key.public_key()))
        boxes = [
            b"",
            b"\0" * 256,
            b"\xff" * 256,
            good[:-1],
            good + b"\0",
            bytes([good[0] ^ 1]) + good[1:],
            key.public_key().encrypt(b"value", padding.PKCS1v15()),
            key.public_key().encrypt(b"value", sha512),
            key.public_key().encrypt(b"\xff value", OAEP),
            private_key(3072).public_key().encrypt(b"value", OAEP),
        ]
        texts = [b64encode(box).decode() for box in boxes]
        for text in (*texts, "value", "no base64!", "A", "Ä" * 40, "\ud800", "A" * 10_000_000):
            with pytest.raises(InvalidInput, match=r"^The value could not be decrypted; ") as refused:
                decrypted(text, key)
            assert refused.value.errors == ()
            assert refused.value.__cause__ is refused.value.__context__ is None

    @given(st.text())
    def test_anything_but_a_box_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidInput):
            decrypted(text, private_key())

    def test_what_was_decrypted_does_not_print_itself(self) -> None:
        text = decrypted(encrypted(SecretStr("a value of note"), private_key().public_key()), private_key())
        assert "note" not in f"{text} {text!r}"
