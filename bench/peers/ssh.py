"""OpenSSH: all connections as channels of one SSH connection (ssh -L), with AES-128-GCM."""

from pathlib import Path

from bench.peers import find_program
from bench.route import SERVICE_PORTS, Route
from tests.e2e.harness import Network
from tests.e2e.harness.process import run

SSH_PORT = 2222
CIPHER = "aes128-gcm@openssh.com"


def start(network: Network) -> Route:
    """Starts an sshd that reads nothing of the machine's own configuration, and a client that forwards the services."""
    sshd, ssh, keygen = (find_program(name) for name in ("sshd", "ssh", "ssh-keygen"))
    server, client = network.server, network.client
    host_key, user_key = server.directory / "host_key", client.directory / "user_key"
    for key in (host_key, user_key):
        run([keygen, "-q", "-t", "ed25519", "-N", "", "-C", "benchmark", "-f", str(key)])
    # sshd confines its unprivileged process to this directory, and wants it to be there.
    (server.namespace.run_directory / "sshd").mkdir(mode=0o755)
    file = server.directory / "sshd_config"
    file.write_text(configuration(server.ipv4, host_key, user_key.with_suffix(".pub")))
    server.namespace.spawn([sshd, "-D", "-e", "-f", str(file)], log=server.directory / "sshd.log")
    server.wait_listening(SSH_PORT)
    client.namespace.spawn([ssh, *arguments(server.ipv4, user_key)], log=client.directory / "ssh.log")
    for port in SERVICE_PORTS:
        client.wait_listening(port)
    route = Route(network, "127.0.0.1")
    route.try_out()
    return route


def configuration(address: str, host_key: Path, authorized: Path) -> str:
    """An sshd_config for root alone, with one key, and forwarding to the loopback interface alone."""
    return f"""\
ListenAddress {address}:{SSH_PORT}
HostKey {host_key}
PidFile none
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
AuthorizedKeysFile {authorized}
# The directories above belong to whoever runs the benchmark.
StrictModes no
AllowTcpForwarding local
PermitOpen {" ".join(f"127.0.0.1:{port}" for port in SERVICE_PORTS)}
"""


def arguments(address: str, user_key: Path) -> list[str]:
    """The arguments of ssh: nothing of the user's own configuration, agent or list of known hosts."""
    settings = {
        "IdentityFile": user_key,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "ExitOnForwardFailure": "yes",
        "Ciphers": CIPHER,
        "Compression": "no",
        "LogLevel": "ERROR",
    }
    options = [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]
    forwards = [argument for port in SERVICE_PORTS for argument in ("-L", f"127.0.0.1:{port}:127.0.0.1:{port}")]
    return ["-F", "none", "-N", "-T", *options, *forwards, "-p", str(SSH_PORT), f"root@{address}"]
