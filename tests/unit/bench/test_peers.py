"""What the other tunnels are told."""

import base64
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.measure import parse_received
from bench.peers import find_program, ssh, stunnel, wireguard
from bench.route import SERVICE_PORTS, Unavailable
from tests.e2e.harness import HarnessError


def test_a_missing_program_makes_a_variant_unavailable() -> None:
    with pytest.raises(Unavailable, match="no-such-program is not installed"):
        find_program("no-such-program")


def test_stunnel_leads_each_service_through_a_port_of_its_own() -> None:
    client = stunnel.client_configuration("10.69.0.2")
    server = stunnel.server_configuration("10.69.0.2", Path("/tmp/key.pem"))
    assert client.startswith("client = yes\n")
    for port in SERVICE_PORTS:
        outside = f"10.69.0.2:{port + stunnel.TLS_PORT_OFFSET}"
        assert f"accept = 127.0.0.1:{port}\nconnect = {outside}\n" in client
        assert f"accept = {outside}\nconnect = 127.0.0.1:{port}\n" in server


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
def test_stunnels_certificate_belongs_to_its_key(key: stunnel.Key) -> None:
    pem = stunnel.certified(key)
    loaded, certificate = load_pem_private_key(pem, None), x509.load_pem_x509_certificate(pem)
    assert isinstance(loaded, type(key))
    assert certificate.public_key() == key.public_key() == loaded.public_key()


def test_ssh_reads_no_configuration_of_the_users() -> None:
    arguments = ssh.arguments("10.69.0.2", Path("/tmp/key"))
    assert arguments[:2] == ["-F", "none"]
    assert arguments[-1] == "root@10.69.0.2"
    forwards = [value for option, value in pairwise(arguments) if option == "-L"]
    assert forwards == [f"127.0.0.1:{port}:127.0.0.1:{port}" for port in SERVICE_PORTS]


def test_sshd_listens_on_the_namespaces_address_alone() -> None:
    lines = ssh.configuration("10.69.0.2", Path("/tmp/host"), Path("/tmp/user.pub")).splitlines()
    assert [line for line in lines if line.startswith("ListenAddress")] == ["ListenAddress 10.69.0.2:2222"]
    assert "PermitOpen 127.0.0.1:5201 127.0.0.1:7000 127.0.0.1:8080 127.0.0.1:6379" in lines


def test_wireguards_ends_know_each_other() -> None:
    ours, theirs = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    text = wireguard.configuration(ours, theirs, "10.69.0.2", "10.70.0.2")
    settings = dict(line.split(" = ") for line in text.splitlines() if " = " in line)
    assert base64.b64decode(settings["PrivateKey"]) == ours.private_bytes_raw()
    assert base64.b64decode(settings["PublicKey"]) == theirs.public_key().public_bytes_raw()
    assert settings["Endpoint"] == "10.69.0.2:51820"
    assert settings["AllowedIPs"] == "10.70.0.2/32"


def test_iperfs_figures_are_the_receivers() -> None:
    received = {"bits_per_second": 8e6, "bytes": 1_000_000}
    sent = {"bits_per_second": 9e6, "bytes": 1_100_000}
    assert parse_received({"end": {"sum_sent": sent, "sum_received": received}}) == (8e6, 1_000_000)
    with pytest.raises(HarnessError, match="nothing"):
        parse_received({"end": {"sum_sent": sent, "sum_received": {"bits_per_second": 0, "bytes": 0}}})
