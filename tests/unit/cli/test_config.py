from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpcryptd.cli.arguments import build_parser
from tcpcryptd.cli.config import ConfigError, Settings, load_settings, read_value
from tcpcryptd.cli.options import OPTIONS

FILE = """
port = [80, 8080]
exclude-port = 25
all-ports = true
loopback = true
interface = "eth0"
forward = ["eth1", "eth2"]
address = ["192.0.2.0/24", "2001:db8::1"]
require = ["198.51.100.7"]
identity = "/etc/ssh/ssh_host_ed25519_key"
peers = "/etc/ssh/ssh_known_hosts"
require-identity = ["203.0.113.0/24"]
first-use = true
state-directory = "/var/lib/other"
suites = ["X25519-HPKE", "AES-256-GCM-SIV"]
resumption-nonce = 4
cache = false
whole-packets = true
workers = 4
busy-poll = 50
queue = 100
mark-mask = "0x7000"
firewall = false
user = "daemon"
runtime-directory = "/run/other"
control-socket = "/run/other/sock"
libtcpcrypt-port = 666
keylog = "/root/keys"
verbose = true
"""
EXPECTED = Settings(
    port=(80, 8080),
    exclude_port=(25,),
    all_ports=True,
    interface=("eth0",),
    loopback=True,
    forward=("eth1", "eth2"),
    address=(ip_network("192.0.2.0/24"), ip_network("2001:db8::1")),
    require=(ip_network("198.51.100.7"),),
    identity="/etc/ssh/ssh_host_ed25519_key",
    peers="/etc/ssh/ssh_known_hosts",
    require_identity=(ip_network("203.0.113.0/24"),),
    first_use=True,
    state_directory="/var/lib/other",
    suites=("X25519-HPKE", "AES-256-GCM-SIV"),
    resumption_nonce=4,
    cache=False,
    whole_packets=True,
    workers=4,
    busy_poll=50,
    queue=100,
    mark_mask=0x7000,
    firewall="none",
    user="daemon",
    runtime_directory="/run/other",
    control_socket="/run/other/sock",
    libtcpcrypt_port=666,
    keylog="/root/keys",
    verbose=True,
)
COMMAND_LINE = (
    "--port 80 --port 8080 --exclude-port 25 --all-ports --interface eth0 --address 192.0.2.0/24 "
    "--loopback --forward eth1 --forward eth2 "
    "--address 2001:db8::1 --require 198.51.100.7 "
    "--identity /etc/ssh/ssh_host_ed25519_key --peers /etc/ssh/ssh_known_hosts --require-identity 203.0.113.0/24 "
    "--first-use --state-directory /var/lib/other "
    "--suites X25519-HPKE --suites AES-256-GCM-SIV --resumption-nonce 4 --no-cache --whole-packets "
    "--libtcpcrypt-port 666 --workers 4 --busy-poll 50 --queue 100 --mark-mask 0x7000 --no-firewall --user daemon "
    "--runtime-directory /run/other --control-socket /run/other/sock --keylog /root/keys --verbose"
)


def settings(file: Path | None, command_line: str = "") -> Settings:
    return load_settings(file, vars(build_parser().parse_args(command_line.split())))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tcpcryptd.toml"
    path.write_text(FILE)
    return path


def test_every_option_has_a_setting() -> None:
    assert [option.key for option in OPTIONS] == [field.name for field in fields(Settings)]


def test_the_defaults() -> None:
    assert settings(None) == Settings()
    assert settings(None).control_socket_path == Path("/run/tcpcryptd/control.sock")


def test_the_file_and_the_command_line_have_the_same_names(file: Path) -> None:
    assert settings(file) == EXPECTED
    assert settings(None, COMMAND_LINE) == EXPECTED


def test_the_command_line_goes_first(file: Path) -> None:
    both = settings(file, "--port 443 --firewall --no-all-ports --queue 5")
    assert (both.port, both.firewall, both.all_ports, both.queue) == ((443,), "auto", False, 5)
    assert both.address == EXPECTED.address


def test_the_control_socket_is_in_the_runtime_directory() -> None:
    assert settings(None, "--runtime-directory /run/b").control_socket_path == Path("/run/b/control.sock")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot = 80", r"unknown key 'prot'; known keys: address, all-ports"),
        ("cleanup = true", "unknown key 'cleanup'"),
        ("port = 0", r"port: 0: expected a port from 1 to 65535, or a list of them"),
        ("port = [80, 65536]", "port: 65536: expected a port"),
        ("port = true", "port: True: expected a port"),
        ("port = 80.0", "port: 80.0: expected a port"),
        ("port = [[80]]", r"port: \[80\]: expected a port"),
        ("exclude-port = '+80 1'", "exclude-port: .* expected a port"),
        ("all-ports = 1", "all-ports: 1: expected true or false"),
        ("interface = 'a/b'", "interface: 'a/b': expected the name of a network interface"),
        ("address = '192.0.2.1/24'", "address: '192.0.2.1/24': expected an address, or a network"),
        ("require = 7", "require: 7: expected an address, or a network"),
        ("protocol = 'both'", "protocol: 'both': expected one of crypt, eno, auto"),
        ("answer = 'auto'", "answer: 'auto': expected one of crypt, eno, both"),
        ("firewall = 'none'", "firewall: 'none': expected one of auto, nft, iptables, or true or false"),
        ("suites = ['RSA-1024']", "suites: 'RSA-1024': expected one of "),
        ("queue = 65534", "queue: 65534: expected a number from 0 to 65533"),
        ("workers = 0", "workers: 0: expected a number from 1 to 64"),
        ("workers = 65", "workers: 65: expected a number from 1 to 64"),
        ("busy-poll = -1", "busy-poll: -1: expected a number from 0 to 10000"),
        ("busy-poll = 10001", "busy-poll: 10001: expected a number from 0 to 10000"),
        ("busy-poll = 0.5", "busy-poll: 0.5: expected a number from 0 to 10000"),
        ("queue = [1, 2]", r"queue: \[1, 2\]: expected a number"),
        ("mark-mask = 0x10000000", "mark-mask: 268435456: expected three or more adjacent bits"),
        ("mark-mask = 0", "mark-mask: 0: expected three or more adjacent bits"),
        ("user = ''", "user: '': expected the name of a user"),
        ("port = 80\nport = 81", "not TOML"),
        ("port", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        settings(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        settings(tmp_path / "none.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not TOML"):
        settings(path)


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * (1 << 21))
    with pytest.raises(ConfigError, match="larger"):
        settings(path)


toml_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(OPTIONS), toml_values)
def test_any_value_is_read_or_refused(option: object, value: object) -> None:
    chosen = next(each for each in OPTIONS if each is option)
    try:
        read = read_value(chosen, value, "file")
    except ConfigError as error:
        assert str(error).startswith(f"file: {chosen.name}: ")  # noqa: PT017 (either outcome is right)
    else:
        assert isinstance(read, tuple) == chosen.repeated


@pytest.mark.parametrize("arguments", [["--port", "http"], ["--prot", "80"], ["--queue", "-1"], ["--mark-mask", "0xg"]])
def test_a_wrong_command_line_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(arguments)
    assert caught.value.code == 2
    assert arguments[0].lstrip("-") in capsys.readouterr().err
