"""The certificates and keys of one run: known to nobody else, gone with its directory.

    python authority.py DIR NAME…

Writes `ca.pem`, `server.pem` and `server-key.pem` for 127.0.0.1, and for each NAME the key
`NAME.jwk.json` and `NAME.pem` with its public half as `NAME.jwks.json`.
"""

import base64
import datetime
import ipaddress
import json
import os
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PLACE = pathlib.Path(sys.argv[1])
DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


def write(name, data):
    file = os.open(PLACE / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(file, "wb") as out:
        out.write(data)


def pem_of(key):
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def certificate(name, key, signer, extensions, authority=None):
    issuer = authority.subject if authority else named(name)
    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + DAY)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def certificates():
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        [
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
        ],
        False,
    )
    signs = x509.KeyUsage(**{**usage, "key_cert_sign": True, "crl_sign": True})
    identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = certificate(
        "interop authority", ca_key, ca_key,
        [(x509.BasicConstraints(ca=True, path_length=0), True), (signs, True), (identifier, False)],
    )
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    server = certificate(
        "interop server", key, ca_key,
        [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.KeyUsage(**{**usage, "digital_signature": True}), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
            (x509.SubjectAlternativeName(names), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False),
        ],
        ca,
    )
    write("ca.pem", ca.public_bytes(serialization.Encoding.PEM))
    write("server.pem", server.public_bytes(serialization.Encoding.PEM))
    write("server-key.pem", pem_of(key))


def number(value):
    return base64.urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()


def key_of(name):
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_numbers()
    point = private.public_numbers
    public = {
        "kty": "EC", "crv": "P-256", "x": number(point.x), "y": number(point.y), "kid": f"{name}-1",
        "alg": "ES256", "use": "sig",
    }
    secret = {**public, "d": number(private.private_value)}
    write(f"{name}.jwk.json", json.dumps(secret).encode())
    write(f"{name}.jwks.json", json.dumps({"keys": [public]}).encode())
    write(f"{name}.pem", pem_of(key))


certificates()
for each in sys.argv[2:]:
    key_of(each)
