"""stunnel: a TLS 1.3 connection with AES-128-GCM for each connection that it carries; nobody verifies certificates."""

import datetime
import os
from pathlib import Path
from subprocess import Popen

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.peers import find_program
from bench.route import SERVICE_PORTS, Route
from tests.e2e.harness import HarnessError, Network
from tests.e2e.harness.process import end

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

RSA_BITS = 2048
TLS_PORT_OFFSET = 10000
ERRORS = 3
INFORMATION = 6
"""stunnel's log levels; from INFORMATION on it says for each connection whether the session was resumed."""

RESUMED = "TLS connected: previous session reused"
PROOF_CONNECTIONS = 4

COMMON = """\
foreground = yes
pid =
syslog = no
debug = {debug}
libwrap = no
sslVersion = TLSv1.3
ciphersuites = TLS_AES_128_GCM_SHA256
sessionResume = {resume}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"""
# libwrap would ask hosts.allow about each connection.


def start(network: Network) -> Route:
    """Sessions are resumed with tickets."""
    return _start(network, resume=True)


def start_fresh(network: Network) -> Route:
    """Every connection makes a whole handshake, with X25519 and an ECDSA P-256 signature."""
    return _start(network, resume=False)


def start_rsa(network: Network) -> Route:
    """The same with a signature of RSA-2048, as most servers made for long: what tcpcrypt's authors compared with."""
    return _start(network, resume=False, key=rsa.generate_private_key(65537, RSA_BITS))


def _start(network: Network, *, resume: bool, key: Key | None = None) -> Route:
    program = find_program("stunnel")
    pem = network.server.directory / "stunnel.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(certified(key or ec.generate_private_key(ec.SECP256R1())))
    route = Route(network, "127.0.0.1")
    # Writing the log that proves it costs time: once with the log, then without.
    ends = _launch(program, network, pem, resume=resume, debug=INFORMATION)
    route.try_out(PROOF_CONNECTIONS)
    for process in ends:
        end(process)
    _check_log(network.client.directory / "stunnel.log", resume=resume)
    _launch(program, network, pem, resume=resume, debug=ERRORS)
    route.try_out()
    return route


def _launch(program: str, network: Network, pem: Path, *, resume: bool, debug: int) -> list[Popen[bytes]]:
    texts = server_configuration(network.server.ipv4, pem), client_configuration(network.server.ipv4)
    common = COMMON.format(debug=debug, resume="yes" if resume else "no")
    processes = []
    for host, text, offset in zip((network.server, network.client), texts, (TLS_PORT_OFFSET, 0), strict=True):
        file = host.directory / "stunnel.conf"
        file.write_text(common + text)
        processes.append(host.namespace.spawn([program, str(file)], log=host.directory / "stunnel.log"))
        for port in SERVICE_PORTS:
            host.wait_listening(port + offset)
    return processes


def server_configuration(address: str, pem: Path) -> str:
    """TLS ports of `address`, each leading to a service on the server's loopback interface."""
    services = (
        f"[{port}]\naccept = {address}:{port + TLS_PORT_OFFSET}\nconnect = 127.0.0.1:{port}\n" for port in SERVICE_PORTS
    )
    return f"cert = {pem}\n" + "".join(services)


def client_configuration(address: str) -> str:
    """The services on the client's loopback interface, each leading to its TLS port at `address`."""
    services = (
        f"[{port}]\naccept = 127.0.0.1:{port}\nconnect = {address}:{port + TLS_PORT_OFFSET}\n" for port in SERVICE_PORTS
    )
    return "client = yes\n" + "".join(services)


def _check_log(log: Path, *, resume: bool) -> None:
    resumed = log.read_text().count(RESUMED)
    if bool(resumed) != resume:
        raise HarnessError(f"stunnel resumed {resumed} of {PROOF_CONNECTIONS} sessions, with sessionResume {resume}")


def certified(key: Key) -> bytes:
    """The key and a certificate for it in PEM, valid for a day."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tcpcryptd benchmark")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), int.from_bytes(os.urandom(16)) | 1, now - day, now + day)
    ).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
