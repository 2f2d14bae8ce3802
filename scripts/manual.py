"""Makes what is derived from the option tables: man pages, shell completion, the sample configuration file.

`python -m scripts.manual DIRECTORY` writes all of it. Pages come from packaging/man/*.in, where @NAME@ is replaced, so
what they say of options cannot go stale.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from scripts.completion import bash_completion, zsh_completion
from tcpcryptd import __version__
from tcpcryptd.cli import doctor, keygen, tcnetstat, tcpcrypt_pcap
from tcpcryptd.cli.arguments import build_parser
from tcpcryptd.cli.options import GROUPS, OPTIONS

TEMPLATES = Path(__file__).resolve().parents[1] / "packaging" / "man"
_EXIT_CODE = re.compile(r"^  (\d+)  (.+)$", re.MULTILINE)


def parsers() -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of the commands, by the words that select them."""
    return {
        "tcpcryptd": build_parser(),
        "tcpcryptd doctor": doctor.build_parser(),
        "tcpcryptd keygen": keygen.build_parser(),
        "tcnetstat": tcnetstat.build_parser(),
        "tcpcrypt-pcap": tcpcrypt_pcap.build_parser(),
    }


def escaped(text: str) -> str:
    """Text as roff takes it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in text.split("\n"))


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A paragraph for each option, in man(7)."""
    for action in actions_of(parser):
        names = ", ".join(rf"\fB{escaped(name)}\fR" for name in action.option_strings)
        values = [action.metavar] if isinstance(action.metavar, str) else list(action.metavar or ())
        operand = " ".join(rf"\fI{escaped(value)}\fR" for value in values)
        if action.nargs == "?":
            operand = f"[{operand}]"
        yield f".TP\n{names} {operand}".rstrip()
        yield escaped((action.help or "").replace("%%", "%") + ".")


def actions_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options of a parser, --help last."""
    actions = [action for action in parser._actions if action.option_strings]
    return sorted(actions, key=lambda action: "--help" in action.option_strings)


def exit_status_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A paragraph for each exit code that the epilog names."""
    for code, meaning in _EXIT_CODE.findall(parser.epilog or ""):
        yield f".TP\n.B {code}\n{escaped(meaning)}."


def keys() -> Iterator[str]:
    """A paragraph for each key of the configuration file."""
    for group in GROUPS:
        yield f".SS {escaped(group.capitalize())}"
        for option in OPTIONS:
            if option.group == group:
                kind = "true or false" if option.kind is None else option.kind.expected
                several = ", or a list of them" if option.repeated else ""
                reload = " Read again on SIGHUP." if option.reloadable else ""
                yield f".TP\n.B {escaped(option.name)}\n{escaped(f'{option.help}. Value: {kind}{several}.{reload}')}"


def sample() -> str:
    """A configuration file with every key in a comment: without an effect until somebody edits it."""
    lines = ["# Configuration of tcpcryptd: see tcpcryptd.toml(5). Nothing here is in force before its # is removed."]
    for option in OPTIONS:
        value = (
            "true" if option.kind is None else f"[{option.kind.metavar}]" if option.repeated else option.kind.metavar
        )
        lines += ["", f"# {option.help}", f"#{option.name} = {value}"]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """The man pages by file name."""
    all_parsers = parsers()
    replacements = {"VERSION": __version__, "KEYS": "\n".join(keys())}
    for command, parser in all_parsers.items():
        name = re.sub(r"\W", "_", command.upper())
        replacements[f"{name}_OPTIONS"] = "\n".join(options_of(parser))
        replacements[f"{name}_EXIT_STATUS"] = "\n".join(exit_status_of(parser))
    return {
        template.stem: re.sub(r"@([A-Z_]+)@", lambda match: replacements[match[1]], template.read_text())
        for template in sorted(TEMPLATES.glob("*.in"))
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes everything below a directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args(arguments).directory
    files = {f"man/{name}": text for name, text in pages().items()}
    files |= {f"bash-completion/{name}": text for name, text in bash_completion(parsers()).items()}
    files |= {f"zsh/{name}": text for name, text in zsh_completion(parsers()).items()}
    files["tcpcryptd.toml"] = sample()
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
