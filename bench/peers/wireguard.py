"""wireguard-go: IP packets in UDP, enciphered with ChaCha20-Poly1305 in user space."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.peers import find_program
from bench.route import Route, Unavailable
from tests.e2e.harness import Network, wait_until

DEVICE = "wg0"
UDP_PORT = 51820
MTU = 1420
CLIENT_ADDRESS = "10.70.0.1"
SERVER_ADDRESS = "10.70.0.2"
TUN = Path("/dev/net/tun")


def start(network: Network) -> Route:
    """Starts one on each host; the tunnel's addresses lead through it."""
    daemon, tool = find_program("wireguard-go"), find_program("wg")
    if not TUN.exists():
        raise Unavailable(f"there is no {TUN}")
    keys = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    inside = CLIENT_ADDRESS, SERVER_ADDRESS
    hosts = network.client, network.server
    for ours, theirs in ((0, 1), (1, 0)):
        host = hosts[ours]
        log = host.directory / "wireguard-go.log"
        host.namespace.spawn([daemon, "--foreground", DEVICE], log=log)
        control = host.namespace.run_directory / "wireguard" / f"{DEVICE}.sock"
        wait_until(control.exists, f"wireguard-go makes {control}")
        file = host.directory / "wireguard.conf"
        file.touch(mode=0o600)
        file.write_text(configuration(keys[ours], keys[theirs], hosts[theirs].ipv4, inside[theirs]))
        host.run([tool, "setconf", DEVICE, str(file)])
        host.run(["ip", "address", "add", f"{inside[ours]}/24", "dev", DEVICE])
        host.run(["ip", "link", "set", DEVICE, "mtu", str(MTU), "up"])
    route = Route(network, SERVER_ADDRESS)
    route.try_out()
    return route


def configuration(ours: X25519PrivateKey, theirs: X25519PrivateKey, endpoint: str, inside: str) -> str:
    """What `wg setconf` reads, with one peer at `endpoint` that has the tunnel's address `inside`."""
    return f"""\
[Interface]
PrivateKey = {base64.b64encode(ours.private_bytes_raw()).decode()}
ListenPort = {UDP_PORT}
[Peer]
PublicKey = {base64.b64encode(theirs.public_key().public_bytes_raw()).decode()}
Endpoint = {endpoint}:{UDP_PORT}
AllowedIPs = {inside}/32
"""
