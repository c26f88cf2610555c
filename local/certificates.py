"""The certificate authority of one run of the local cloud; only what is told to trusts it."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme

from local.state import write_private


class CertificateAuthority:
    """Issues the certificate for this machine's loopback names; its files are in `folder`.

    `bundle` is for `SSL_CERT_FILE`: this authority and whatever the machine trusts already. The
    authority's own key is never written.
    """

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA(organization_name="Local cloud")
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.bundle = folder / "authorities.pem"
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self._authority = authority
        self._issued = issued
        write_private(self.bundle, authority.cert_pem.bytes() + _trusted_by_the_machine())
        write_private(self.certificate, b"".join(part.bytes() for part in issued.cert_chain_pems))
        write_private(self.key, issued.private_key_pem.bytes())

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._issued.configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return a context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        return context


def _trusted_by_the_machine() -> bytes:
    trusted = ssl.get_default_verify_paths().cafile
    return b"\n" + Path(trusted).read_bytes() if trusted else b""
