"""TLS certificate of a team's set-up, signed by a certificate authority of its own.

The key of the authority is never written, so that it cannot sign anything else. When the certificate nears its end,
both are made again. A team with a public host name uses certificates of a public authority instead.
"""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tasks.file_io import write_atomically

DAYS = 397
"""Days that a certificate is valid; clients refuse longer ones."""
RENEW = timedelta(days=30)
"""Time before its end from which a certificate is made again."""


def trust_variables(bundle: Path) -> dict[str, str]:
    """Return the variables that make Python, requests, curl and git trust the certificates of a file."""
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO")
    return dict.fromkeys(names, str(bundle))


def make_certificates(host: str, certificate: Path, key: Path, bundle: Path) -> None:
    """Write a certificate for a host name, its key, and the bundle that clients trust, unless they are there and valid.

    Args:
        host: Name, or IP address, that clients use.
        certificate: File of the certificate, followed by that of its authority.
        key: File of its key, readable by its owner only.
        bundle: File of the authority's certificate and of all public ones, so that other hosts are still trusted.
    """
    if all(path.is_file() for path in (certificate, key, bundle)) and _is_valid(certificate, host):
        return
    now = datetime.now(UTC)
    authority_key, own_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Conceptry, this team")])
    signs = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    own = (
        _builder(x509.Name([]), authority_name, own_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([_name(host)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = authority.public_bytes(Encoding.PEM)
    write_atomically(bundle, Path(certifi.where()).read_bytes() + b"\n" + pem)
    private = own_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomically(key, private, mode=0o600)
    write_atomically(certificate, own.public_bytes(Encoding.PEM) + pem)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of other machines may be behind
        .not_valid_after(now + timedelta(days=DAYS))
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_valid(certificate: Path, host: str) -> bool:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _name(host) in names and found.not_valid_after_utc - RENEW > datetime.now(UTC)
