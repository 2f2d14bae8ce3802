"""The second act of `make demo`: mallory stands between alice and bob, answers in bob's place, and is refused."""

from pathlib import Path

from scripts.demo_act import fetch_letter, heading, serve
from tests.e2e.harness import Host, Network, routed, wait_until
from tests.e2e.harness.daemon import Daemon, entry_point

FORGED = "Dear Alice,\nthe password is now mackerel.\nYours, Mallory\n"
NAMES = ("alice", "bob", "mallory")


def second_act(directory: Path, letter: bytes) -> None:
    """Raises RuntimeError when mallory is believed although alice knows bob."""
    with routed(directory) as network:
        hosts = dict(zip(NAMES, _hosts(network), strict=True))
        for name, text in (("bob", letter), ("mallory", FORGED.encode())):
            files = directory / name / "files"
            files.mkdir(parents=True)
            (files / "letter").write_bytes(text)
            serve(hosts[name], files)
        heading("Mallory stands between, answers in bob's place, and has tcpcryptd as well")
        daemons = {name: host.start_daemon() for name, host in hosts.items()}
        _answer_in_place_of(network, "add")
        fetch_letter(network.client, network.server)
        heading("With host identities: alice knows bob's key, and connects with nobody else")
        _with_identities(directory, hosts, daemons)
        if fetch_letter(network.client, network.server, check=False).returncode == 0:
            raise RuntimeError("a man in the middle was believed")
        wait_until(lambda: "refused: " in daemons["alice"].log(), "the log says why")
        print(next(line for line in daemons["alice"].log().splitlines() if "refused: " in line))
        heading("Mallory is gone")
        _answer_in_place_of(network, "del")
        fetch_letter(network.client, network.server)
        print(f"alice$ tcnetstat --peers\n{network.client.tcnetstat('--peers').stdout}", end="")


def _hosts(network: Network) -> tuple[Host, Host, Host]:
    if network.router is None:
        raise RuntimeError("nobody stands between")
    return network.client, network.server, network.router


def _answer_in_place_of(network: Network, what: str) -> None:
    """Adds bob's address to mallory's host, or deletes it there."""
    _, bob, mallory = _hosts(network)
    mallory.run(["ip", "address", what, f"{bob.ipv4}/32", "dev", "lo"])


def _with_identities(directory: Path, hosts: dict[str, Host], daemons: dict[str, Daemon]) -> None:
    keys = {name: directory / f"{name}.key" for name in hosts}
    for key in keys.values():
        hosts["alice"].run([*entry_point("tcpcryptd"), "keygen", str(key)])
    peers = directory / "peers"
    known = (f"{name},{hosts[name].ipv4} {Path(f'{keys[name]}.pub').read_text()}" for name in ("alice", "bob"))
    peers.write_text("".join(known))
    peers.chmod(0o644)
    for name, host in hosts.items():
        daemons[name].stop()
        required = () if name == "mallory" else ("--peers", str(peers), "--require-identity", "10.69.0.0/16")
        daemons[name] = host.start_daemon("--identity", str(keys[name]), *required)
    options = "--identity alice.key --peers peers --require-identity 10.69.0.0/16"
    print(f"alice$ tcpcryptd {options}\nalice$ cat peers\n{peers.read_text()}", end="")
