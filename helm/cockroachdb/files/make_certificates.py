"""Make the database's authority and certificates as Secrets; run again, renew what ends soon.

Runs in a pod with FileFlux's image (Python and `cryptography`). From the environment: NAMESPACE,
SECRETS (what their names begin with), DNS_NAMES (of the nodes, comma separated), VALID_HOURS. The
authority's key is a Secret of its own that no other pod mounts. Ends with 1 and a sentence when
the API refuses.
"""

import base64
import datetime
import ipaddress
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
AUTHORITY_DAYS = 3650
PEM = serialization.Encoding.PEM


class Secrets:
    """The Secrets of one namespace, by the API's REST."""

    def __init__(self, url, namespace, token, context=None):
        self._url = f"{url}/api/v1/namespaces/{namespace}/secrets"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._context = context

    def read(self, name):
        """Return {key: bytes}, None if there is no such Secret."""
        try:
            found = self._ask("GET", f"{self._url}/{name}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}

    def write(self, name, data, *, kind="Opaque"):
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": kind,
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "cockroachdb"}},
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        try:
            self._ask("POST", self._url, body)
        except urllib.error.HTTPError as error:
            if error.code != 409:  # It exists: replaced as a whole.
                raise
            self._ask("PUT", f"{self._url}/{name}", body)

    def _ask(self, method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        # The address is the pod's own API server: no user names it.
        request = urllib.request.Request(url, data, self._headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=30, context=self._context) as answer:  # noqa: S310
            return json.load(answer)


def make_authority(now):
    """Return (key, certificate) of a new authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "FileFlux database CA")])
    builder = _certificate(name, name, key, now, datetime.timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return key, builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())


def make_certificate(authority, common_name, names, now, valid):
    """Return (key, certificate): of the nodes when there are DNS names, else of a client."""
    authority_key, authority_certificate = authority
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Cockroach"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = _certificate(subject, authority_certificate.subject, key, now, valid)
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if names:
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        alternatives = [x509.DNSName(name) for name in names]
        builder = builder.add_extension(
            x509.SubjectAlternativeName([*alternatives, loopback]), False
        )
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), False)
    return key, builder.sign(authority_key, hashes.SHA256())


def _certificate(subject, issuer, key, now, valid):
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + valid)
    )


def is_good(secret, names, authority_certificate, now, valid):
    """Whether a certificate is of this authority, has these names, and a third of its time left."""
    if secret is None or not {"tls.crt", "tls.key", "ca.crt"} <= set(secret):
        return False
    certificate = x509.load_pem_x509_certificate(secret["tls.crt"])
    if certificate.issuer != authority_certificate.subject:
        return False
    if secret["ca.crt"] != authority_certificate.public_bytes(PEM):
        return False
    if certificate.not_valid_after_utc - now < valid / 3:
        return False
    return _dns_names(certificate) == set(names)


def _dns_names(certificate):
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


def ensure(secrets, prefix, names, valid, now):
    """Make and renew what is needed; return the names of the Secrets that were written."""
    written = []
    authority = _authority(secrets, prefix, now, written)
    ca = authority[1].public_bytes(PEM)
    for name, common_name, alternatives in (("node", "node", names), ("root", "root", [])):
        secret = f"{prefix}-{name}"
        if is_good(secrets.read(secret), alternatives, authority[1], now, valid):
            continue
        key, certificate = make_certificate(authority, common_name, alternatives, now, valid)
        data = {"tls.crt": certificate.public_bytes(PEM), "tls.key": _private(key), "ca.crt": ca}
        secrets.write(secret, data, kind="kubernetes.io/tls")
        written.append(secret)
    return written


def _authority(secrets, prefix, now, written):
    kept = secrets.read(f"{prefix}-ca-key")
    if kept is not None:
        key = serialization.load_pem_private_key(kept["tls.key"], None)
        certificate = x509.load_pem_x509_certificate(kept["tls.crt"])
    else:
        key, certificate = make_authority(now)
        data = {"tls.crt": certificate.public_bytes(PEM), "tls.key": _private(key)}
        secrets.write(f"{prefix}-ca-key", data, kind="kubernetes.io/tls")
        written.append(f"{prefix}-ca-key")
    public = {"ca.crt": certificate.public_bytes(PEM)}
    if secrets.read(f"{prefix}-ca") != public:
        secrets.write(f"{prefix}-ca", public)
        written.append(f"{prefix}-ca")
    return key, certificate


def _private(key):
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def main(environment):
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment["KUBERNETES_SERVICE_PORT"]
    token = (ACCOUNT / "token").read_text()
    secrets = Secrets(f"https://{host}:{port}", environment["NAMESPACE"], token, context)
    valid = datetime.timedelta(hours=int(environment["VALID_HOURS"]))
    now = datetime.datetime.now(datetime.UTC)
    try:
        written = ensure(
            secrets, environment["SECRETS"], environment["DNS_NAMES"].split(","), valid, now
        )
    except urllib.error.URLError as error:
        print(f"the Secrets cannot be made: {error}", file=sys.stderr)
        return 1
    print(f"written: {', '.join(written)}" if written else "all certificates are good")
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
