"""A certificate authority of this test run's own, and a certificate for the servers on this machine."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Certificates:
    """PEM files."""

    authority: Path
    """The authority's certificate: what clients have to trust."""
    certificate: Path
    """The servers' certificate, for localhost and 127.0.0.1."""
    key: Path
    """Its private key."""
    both: Path
    """The key and then the certificate, in one file."""


def make_certificates(folder: Path) -> Certificates:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def named(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def certify(name, key, issuer, issuer_key, *extensions):
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
        )
        identifiers = (
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
        )
        for extension in (*extensions, *identifiers):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = "dlio_fast tests' authority"
    signs = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    authority = certify(
        authority_name,
        authority_key,
        authority_name,
        authority_key,
        x509.BasicConstraints(ca=True, path_length=0),
        signs,
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = certify(
        "localhost",
        key,
        authority_name,
        authority_key,
        x509.BasicConstraints(ca=False, path_length=None),
        x509.SubjectAlternativeName(names),
        x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]),
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files = Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "both.pem")))
    for path, content in zip(
        (files.authority, files.certificate, files.key, files.both),
        (authority, certificate, private, private + certificate),
        strict=True,
    ):
        path.write_bytes(content)
    return files
