"""Completion, by shells that run on terminals of their own."""

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import manual
from scripts.completion import bash_completion, zsh_completion

COMMANDS = ("tcpcryptd", "tcnetstat", "tcpcrypt-pcap")
SECONDS = 60
PROMPT = "ready> "
START = {
    # The commands say what they were given.
    "bash": """
        bind 'set enable-bracketed-paste off'; bind 'set bell-style none'
        for each in {directory}/bash-completion/*; do . "$each"; done
        for each in {commands}; do eval "function $each {{ said=(\\"$each\\" \\"\\$@\\"); }}"; done
        PS1='{prompt}'
    """,
    "zsh": """
        fpath=({directory}/zsh $fpath)
        autoload -Uz compinit && compinit -D -u
        unsetopt auto_remove_slash prompt_cr prompt_sp; unset zle_bracketed_paste
        for each in {commands}; do eval "function $each {{ said=(\\"$each\\" \\"\\$@\\"); }}"; done
        PS1='{prompt}'
    """,
}
ARGUMENTS = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}


def flags(command: str) -> set[str]:
    parser = manual.parsers()[command]
    return {flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")}


class Shell:
    """An interactive shell in a directory."""

    def __init__(self, name: str, directory: Path, start: str) -> None:
        self._ours, its = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TERM": "dumb", "LC_ALL": "C"}
        environment |= {"COLUMNS": "300", "PS1": "", "HISTFILE": ""}
        self._process = subprocess.Popen(
            [name, *ARGUMENTS[name]],
            stdin=its,
            stdout=its,
            stderr=its,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
        os.close(its)
        self._seen = ""
        script = directory / "start"
        script.write_text(start)
        os.write(self._ours, b". ./start\n")
        self._wait(PROMPT)
        script.unlink()

    def _wait(self, text: str) -> str:
        """What has come until the text does."""
        deadline = time.monotonic() + SECONDS
        while text not in self._seen:
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"{text!r} did not come: {self._seen!r}")
            self._seen += os.read(self._ours, 4096).decode(errors="replace")
        before, _, self._seen = self._seen.partition(text)
        return before

    def completed(self, typed: str) -> list[str]:
        """The words of the command that the shell makes of what was typed, with a tab behind it."""
        os.write(self._ours, typed.encode() + b"\t\n")
        self._wait(PROMPT)
        # The echo of what is typed has no result of printf in it.
        os.write(self._ours, b"printf '%s\\n' '<''<' \"${said[@]}\" '>''>'\n")
        self._wait("<<\r\n")
        words = self._wait(">>\r\n").splitlines()
        self._wait(PROMPT)
        return words

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    manual.main([str(directory)])
    return directory


@pytest.fixture(params=["bash", "zsh"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, made: Path) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    (tmp_path / "my captures").mkdir()
    (tmp_path / "my captures" / "first one.pcap").touch()
    (tmp_path / "plain.toml").touch()
    (tmp_path / "it's $HOME").touch()
    start = START[name].format(directory=made, commands=" ".join(COMMANDS), prompt=PROMPT)
    shell = Shell(name, tmp_path, start)
    yield shell
    shell.end()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("tcpcrypt-pcap my", ["tcpcrypt-pcap", "my captures/"]),
        ("tcpcrypt-pcap my\\ captures/f", ["tcpcrypt-pcap", "my captures/first one.pcap"]),
        ("tcpcrypt-pcap 'my captures/f", ["tcpcrypt-pcap", "my captures/first one.pcap"]),
        ("tcpcrypt-pcap it", ["tcpcrypt-pcap", "it's $HOME"]),
        ("tcpcrypt-pcap --key", ["tcpcrypt-pcap", "--keylog"]),
        ("tcpcrypt-pcap x --keylog pl", ["tcpcrypt-pcap", "x", "--keylog", "plain.toml"]),
        ("tcpcryptd --config pl", ["tcpcryptd", "--config", "plain.toml"]),
        ("tcpcryptd --config=pl", ["tcpcryptd", "--config=plain.toml"]),
        ("tcpcryptd --answer=b", ["tcpcryptd", "--answer=both"]),
        ("tcpcryptd doctor --config=my", ["tcpcryptd", "doctor", "--config=my captures/"]),
        ("tcpcryptd doc", ["tcpcryptd", "doctor"]),
        ("tcpcryptd doctor --conf", ["tcpcryptd", "doctor", "--config"]),
        ("tcpcryptd doctor --config pl", ["tcpcryptd", "doctor", "--config", "plain.toml"]),
        ("tcpcryptd --answer b", ["tcpcryptd", "--answer", "both"]),
        ("tcpcryptd --queue pl", ["tcpcryptd", "--queue", "pl"]),
        ("tcpcryptd --user nobod", ["tcpcryptd", "--user", "nobody"]),
        ("tcnetstat --socket my", ["tcnetstat", "--socket", "my captures/"]),
        ("tcnetstat --me", ["tcnetstat", "--metrics"]),
        ("tcnetstat --watch --js", ["tcnetstat", "--watch", "--json"]),
    ],
)
def test_shells_complete(shell: Shell, typed: str, words: list[str]) -> None:
    assert shell.completed(typed) == words


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_behind_an_equals_sign(tmp_path: Path, made: Path) -> None:
    (tmp_path / "plain.toml").touch()
    shell = Shell("bash", tmp_path, START["bash"].format(directory=made, commands=" ".join(COMMANDS), prompt=PROMPT))
    try:
        assert shell.completed("tcpcryptd --config=pl") == ["tcpcryptd", "--config=plain.toml"]
        assert shell.completed("tcpcryptd --protocol=cr") == ["tcpcryptd", "--protocol=crypt"]
    finally:
        shell.end()


def offered(command: str, *words: str) -> set[str]:
    """All that bash offers for the last of the words."""
    script = bash_completion(manual.parsers())[command]
    array = " ".join(f"'{word}'" for word in (command, *words))
    function = command.replace("-", "_")
    script += f"\nCOMP_WORDS=({array}); COMP_CWORD={len(words)}; _{function}; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    done = subprocess.run(["bash", "-eu"], input=script, capture_output=True, text=True, check=True, timeout=SECONDS)
    return set(done.stdout.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_offered(command: str) -> None:
    assert offered(command, "--") == flags(command)
    text = zsh_completion(manual.parsers())[f"_{command}"]
    assert text.startswith(f"#compdef {command}\n")
    assert [flag for flag in flags(command) if not re.search(rf"'\*{flag}=?\[", text)] == []
