from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from pydantic import SecretStr

from tests.credential_types.key_material import (
    DAY,
    Issued,
    PrivateKey,
    common_name,
    dns,
    ed25519_key,
    issue,
    pem,
    rsa_key,
)
from tests.credential_types.refusals import NOW, accept, faults_of, fields_of, refusal_of, refusal_to_replace, replace
from vault_core.credential_types import TYPES, Accepted
from vault_core.credential_types.tls_certificate import MAX_NAMES

ROOT = issue("Root", authority=True, not_after=NOW + 3650 * DAY)
MIDDLE = issue("Middle", by=ROOT, authority=True)
LEAF = issue("api.example.com", dns("api.example.com"), by=MIDDLE, authority=False)


def chain(*links: Issued) -> str:
    return "".join(link.pem for link in links)


def accepted(issued: Issued) -> Accepted:
    return accept("tls-certificate", **issued.fields)


# What is accepted and told


def test_the_details_are_those_of_the_certificate() -> None:
    names = [
        *dns("api.example.com", "*.example.com"),
        x509.IPAddress(ip_address("192.0.2.7")),
        x509.IPAddress(ip_address("2001:db8::1")),
        x509.RFC822Name("ops@example.com"),
        x509.UniformResourceIdentifier("spiffe://example.com/api"),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.DirectoryName(common_name("Directory")),
        x509.OtherName(x509.ObjectIdentifier("1.2.3.5"), b"\x0c\x01x"),
    ]
    leaf = issue("api.example.com", names, by=ROOT)
    result = accepted(leaf)
    serial = f"{leaf.certificate.serial_number:X}"
    assert result.details == {
        "subject": "CN=api.example.com",
        "commonName": "api.example.com",
        "issuer": "CN=Root",
        "notBefore": "2026-02-28T12:00:00Z",
        "notAfter": "2026-05-30T12:00:00Z",
        "sans": [
            *("DNS:api.example.com", "DNS:*.example.com", "IP:192.0.2.7", "IP:2001:db8::1"),
            *("email:ops@example.com", "URI:spiffe://example.com/api", "RID:1.2.3.4", "DirName:CN=Directory"),
            "othername:1.2.3.5:0c0178",
        ],
        "serialNumber": serial if len(serial) % 2 == 0 else f"0{serial}",
        "fingerprint": result.details["fingerprint"],
    }
    assert json.loads(json.dumps(result.details)) == result.details
    assert result.ends_at == NOW + 90 * DAY


def test_the_fingerprint_is_sha256_in_pairs() -> None:
    pairs = accepted(LEAF).details["fingerprint"].split(":")
    assert len(pairs) == 32
    assert bytes.fromhex("".join(pairs)) == LEAF.certificate.fingerprint(SHA256())


def test_the_display_is_the_common_name_and_the_end() -> None:
    assert TYPES["tls-certificate"].display(accepted(LEAF).details) == (
        "CN=api.example.com, expires 2026-05-30T12:00:00Z"
    )


def test_a_certificate_without_a_common_name_is_shown_by_its_first_name() -> None:
    details = accepted(issue(None, dns("one.example.com", "two.example.com"))).details
    assert details["commonName"] is None
    assert TYPES["tls-certificate"].display(details) == "DNS:one.example.com, expires 2026-05-30T12:00:00Z"


def test_the_value_is_the_json_text_of_the_fields() -> None:
    text = json.dumps({**LEAF.fields, "chain": chain(MIDDLE, ROOT)})
    fields = TYPES["tls-certificate"].parse(SecretStr(text))
    assert fields == fields_of({**LEAF.fields, "chain": chain(MIDDLE, ROOT)})
    assert json.loads(TYPES["tls-certificate"].render(fields).get_secret_value()) == json.loads(text)


@pytest.mark.parametrize("links", [(MIDDLE, ROOT), (MIDDLE,)])
def test_a_chain_from_leaf_to_root_is_accepted_with_the_root_or_without(links: tuple[Issued, ...]) -> None:
    assert accept("tls-certificate", **LEAF.fields, chain=chain(*links)).details == accepted(LEAF).details


def test_a_root_that_has_expired_does_not_spoil_a_chain() -> None:
    root = issue("Old root", authority=True, not_before=NOW - 9 * DAY, not_after=NOW - DAY)
    leaf = issue(by=root)
    assert accept("tls-certificate", **leaf.fields, chain=root.pem)


# What is refused


@pytest.mark.parametrize("key", [ed25519_key(), rsa_key(2048)])
def test_a_key_that_does_not_belong_to_the_certificate_is_refused(key: PrivateKey) -> None:
    foreign = pem(key)
    assert refusal_of("tls-certificate", certificate=LEAF.pem, privateKey=foreign) == {
        "fields.privateKey": "does not belong to the certificate"
    }


def test_an_encrypted_key_is_refused() -> None:
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        encrypted = pem(rsa_key(2048), form, BestAvailableEncryption(b"open sesame"))
        assert refusal_of("tls-certificate", certificate=LEAF.pem, privateKey=encrypted) == {
            "fields.privateKey": "is encrypted; give it decrypted, the vault encrypts it"
        }


def test_a_key_in_the_format_of_openssh_is_refused() -> None:
    faults = refusal_of("tls-certificate", certificate=LEAF.pem, privateKey=pem(ed25519_key(), PrivateFormat.OpenSSH))
    assert faults["fields.privateKey"].startswith("is in the format of OpenSSH")


@pytest.mark.parametrize("end", [NOW, NOW - DAY])
def test_a_certificate_that_has_expired_is_refused(end: datetime) -> None:
    expired = issue(not_before=NOW - 9 * DAY, not_after=end)
    assert refusal_of("tls-certificate", **expired.fields) == {
        "fields.certificate": "has expired; get a new certificate"
    }


def test_a_certificate_that_is_not_valid_yet_is_refused_beyond_the_skew_of_clocks() -> None:
    assert refusal_of("tls-certificate", **issue(not_before=NOW + timedelta(minutes=6)).fields) == {
        "fields.certificate": "is not valid yet; store it when it is"
    }
    assert accepted(issue(not_before=NOW + timedelta(minutes=5)))


@pytest.mark.parametrize(
    "links",
    [
        (ROOT,),
        (ROOT, MIDDLE),
        (MIDDLE, MIDDLE),
        (LEAF, MIDDLE, ROOT),
        (MIDDLE, issue("Root", authority=True)),
        (issue("Middle", by=ROOT, authority=True), ROOT),
    ],
)
def test_a_chain_that_does_not_link_leaf_to_root_is_refused(links: tuple[Issued, ...]) -> None:
    faults = refusal_of("tls-certificate", **LEAF.fields, chain=chain(*links))
    assert faults["fields.chain"].startswith("breaks at certificate ")


def test_the_broken_link_of_a_chain_is_named() -> None:
    faults = refusal_of("tls-certificate", **LEAF.fields, chain=chain(MIDDLE, issue("Root", authority=True)))
    assert faults["fields.chain"].startswith("breaks at certificate 2")


@pytest.mark.parametrize("authority", [False, None])
def test_a_chain_through_a_certificate_that_is_no_authority_is_refused(authority: bool | None) -> None:
    impostor = issue("impostor.example.com", by=ROOT, authority=authority)
    leaf = issue(by=impostor)
    faults = refusal_of("tls-certificate", **leaf.fields, chain=chain(impostor, ROOT))
    assert faults["fields.chain"].startswith("breaks at certificate 1")


def test_a_chain_of_ten_is_accepted_and_one_of_eleven_refused() -> None:
    links = [ROOT]
    for number in range(10):
        links.insert(0, issue(f"Authority {number}", by=links[0], authority=True))
    leaf = issue(by=links[0])
    assert accept("tls-certificate", **leaf.fields, chain=chain(*links[:10]))
    assert refusal_of("tls-certificate", **leaf.fields, chain=chain(*links)) == {
        "fields.chain": "holds more than 10 PEM blocks"
    }


def test_several_certificates_in_the_place_of_one_are_refused() -> None:
    faults = refusal_of("tls-certificate", certificate=chain(LEAF, MIDDLE), privateKey=LEAF.key_pem)
    assert faults == {"fields.certificate": "must hold one certificate; put those above it in `chain`"}


@pytest.mark.parametrize("field", ["certificate", "chain"])
def test_a_private_key_in_a_field_that_is_shown_is_refused(field: str) -> None:
    fields = {**LEAF.fields, "chain": MIDDLE.pem}
    alone = refusal_of("tls-certificate", **{**fields, field: LEAF.key_pem})
    assert alone[f"fields.{field}"] == "must hold nothing but certificates"
    for hidden in (f"{fields[field]}{LEAF.key_pem}", f"secret text\n{fields[field]}"):
        assert f"fields.{field}" in refusal_of("tls-certificate", **{**fields, field: hidden})
    nested = fields[field].replace("CERTIFICATE-----\n", f"CERTIFICATE-----\n{LEAF.key_pem}", 1)
    assert f"fields.{field}" in refusal_of("tls-certificate", **{**fields, field: nested})
    between = fields[field].replace("CERTIFICATE-----\n", "CERTIFICATE-----\n!#$%&!\n", 1)
    assert f"fields.{field}" in refusal_of("tls-certificate", **{**fields, field: between})
    header = fields[field].replace("CERTIFICATE-----\n", "CERTIFICATE-----\nSecret: text\n\n", 1)
    assert f"fields.{field}" in refusal_of("tls-certificate", **{**fields, field: header})


@pytest.mark.parametrize("content", ["", "AAAA", "MAA=", "not base64!"])
def test_what_is_no_certificate_is_refused(content: str) -> None:
    text = f"-----BEGIN CERTIFICATE-----\n{content}\n-----END CERTIFICATE-----\n"
    assert "fields.certificate" in refusal_of("tls-certificate", certificate=text, privateKey=LEAF.key_pem)
    assert "fields.chain" in refusal_of("tls-certificate", **LEAF.fields, chain=text)


def test_a_certificate_whose_names_cannot_be_read_is_refused() -> None:
    broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"broken")
    leaf = issue(extension=broken)
    assert refusal_of("tls-certificate", **leaf.fields) == {
        "fields.certificate": "is a certificate that cannot be read"
    }


def test_a_certificate_for_an_unknown_kind_of_key_is_refused() -> None:
    ed25519, unknown = bytes.fromhex("06032b6570"), bytes.fromhex("06032b657f")
    content = LEAF.certificate.public_bytes(Encoding.DER).replace(ed25519, unknown)
    text = f"-----BEGIN CERTIFICATE-----\n{b64encode(content).decode()}\n-----END CERTIFICATE-----\n"
    assert refusal_of("tls-certificate", certificate=text, privateKey=LEAF.key_pem) == {
        "fields.privateKey": "cannot be compared: the certificate is for an unknown kind of key"
    }


def test_too_many_names_and_too_long_a_subject_are_refused() -> None:
    most = dns(*(f"{number}.example.com" for number in range(MAX_NAMES)))
    assert len(accepted(issue("many", most)).details["sans"]) == MAX_NAMES
    faults = refusal_of("tls-certificate", **issue("many", [*most, *dns("one.more")]).fields)
    assert faults == {"fields.certificate": "has more than 250 alternative names"}
    long = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATIONAL_UNIT_NAME, "u" * 64)] * 17)
    builder = x509.CertificateBuilder().subject_name(long).issuer_name(long).public_key(LEAF.key.public_key())
    dated = builder.serial_number(1).not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    key = LEAF.key
    issued = Issued(dated.sign(key, algorithm=None), key)
    faults = refusal_of("tls-certificate", **issued.fields)
    assert faults == {"fields.certificate": "has a subject or issuer of more than 1024 characters"}


def test_every_field_at_fault_is_named() -> None:
    faults = refusal_of("tls-certificate", certificate="x", privateKey="x", chain="x")
    assert set(faults) == {"fields.certificate", "fields.privateKey", "fields.chain"}


# Replacement


def renewed(*names: str, common: str | None = "api.example.com") -> Accepted:
    return accepted(issue(common, dns(*names), not_after=NOW + 91 * DAY))


def test_a_certificate_may_be_replaced_by_one_that_ends_later_and_covers_its_names() -> None:
    old = accepted(issue("x", dns("api.example.com", "www.example.com")))
    replace("tls-certificate", old, renewed("WWW.example.com", "api.example.com", "more.example.com"))


@pytest.mark.parametrize("earlier", [timedelta(0), DAY])
def test_a_certificate_is_not_replaced_by_one_that_does_not_end_later(earlier: timedelta) -> None:
    old, new = accepted(issue()), accepted(issue(not_after=NOW + 90 * DAY - earlier))
    assert refusal_to_replace("tls-certificate", old, new) == {
        "fields.certificate": "does not end later than the certificate to be replaced"
    }


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["api.example.com", "www.example.com"], ["api.example.com"]),
        (["deep.api.example.com"], ["*.example.com"]),
        (["example.com"], ["*.example.com"]),
        (["*.example.com"], ["api.example.com"]),
        (["*.api.example.com"], ["*.example.com"]),
        (["com"], ["*.com"]),
        (["api.example.com"], ["*.example.org"]),
    ],
)
def test_a_certificate_is_not_replaced_by_one_that_leaves_a_name_uncovered(old: list[str], new: list[str]) -> None:
    assert refusal_to_replace("tls-certificate", accepted(issue("x", dns(*old))), renewed(*new, common="x")) == {
        "fields.certificate": "does not cover 1 of the names of the certificate to be replaced"
    }


def test_a_wildcard_covers_one_label() -> None:
    old = accepted(issue("x", dns("api.example.com", "*.example.com", "*.api.example.com")))
    replace("tls-certificate", old, renewed("*.Example.com", "*.api.example.com"))


def test_names_of_other_kinds_must_be_the_same() -> None:
    old = accepted(issue("x", [x509.IPAddress(ip_address("192.0.2.7"))]))
    same = issue("x", [x509.IPAddress(ip_address("192.0.2.7"))], not_after=NOW + 91 * DAY)
    other = issue("x", [x509.IPAddress(ip_address("192.0.2.8"))], not_after=NOW + 91 * DAY)
    replace("tls-certificate", old, accepted(same))
    assert refusal_to_replace("tls-certificate", old, accepted(other))
    assert refusal_to_replace("tls-certificate", old, renewed("192.0.2.7", "*.0.2.7"))


def test_the_common_name_counts_when_there_are_no_alternative_names() -> None:
    old = accepted(issue("api.example.com"))
    replace("tls-certificate", old, renewed())
    replace("tls-certificate", old, renewed("*.example.com", common="other"))
    assert refusal_to_replace("tls-certificate", old, renewed(common="other"))
    assert refusal_to_replace("tls-certificate", old, renewed("www.example.com"))


def test_a_refusal_to_replace_does_not_tell_names() -> None:
    old = accepted(issue("x", dns("secret-project.example.com")))
    faults = faults_of(lambda: replace("tls-certificate", old, renewed("api.example.com")))
    assert "secret-project" not in str(faults)
