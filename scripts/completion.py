"""Shell completion, from the commands' parsers."""

import argparse
from collections.abc import Iterator, Mapping

from tcpcryptd.cli.options import ALGORITHMS, ANSWERS, OFFERS

Parsers = Mapping[str, argparse.ArgumentParser]

_WORDS = {"suites": ALGORITHMS, "protocol": tuple(OFFERS), "answer": tuple(ANSWERS)}
"""The values of options that have a few."""
_FILES = ("FILE", "PATH")


def bash_completion(parsers: Parsers) -> dict[str, str]:
    """A file for each command, by its name."""
    commands = sorted({name.split()[0] for name in parsers})
    return {command: _bash(command, parsers) for command in commands}


def zsh_completion(parsers: Parsers) -> dict[str, str]:
    """A function file for each command, by its name."""
    commands = sorted({name.split()[0] for name in parsers})
    return {f"_{command}": _zsh(command, parsers[command]) for command in commands}


def _bash(command: str, parsers: Parsers) -> str:
    words = " ".join(_flags(parsers[command]))
    subcommands = {name.split()[1]: parser for name, parser in parsers.items() if name.startswith(f"{command} ")}
    lines = [f"_{command}() {{", "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}"]
    lines.append(f'    local words="{" ".join([*subcommands, words])}"')
    for name, parser in subcommands.items():
        lines.append(
            f'    [[ ${{COMP_WORDS[1]}} == {name} && $COMP_CWORD -gt 1 ]] && words="{" ".join(_flags(parser))}"'
        )
    lines.append("    case $before in")
    lines += _bash_values(parsers[command])
    lines += [
        '    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word") ;;',
        "    esac",
        "}",
        f"complete -F _{command} {command}",
    ]
    return "\n".join(lines) + "\n"


def _bash_values(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in _with_value(parser):
        names = "|".join(action.option_strings)
        words = _WORDS.get(action.dest)
        if words is not None:
            yield f'    {names}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(words)}" -- "$word") ;;'
        elif action.metavar in _FILES:
            yield f'    {names}) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;'
        elif action.metavar == "USER":
            yield f'    {names}) mapfile -t COMPREPLY < <(compgen -u -- "$word") ;;'
        else:
            yield f"    {names}) COMPREPLY=() ;;"


def _zsh(command: str, parser: argparse.ArgumentParser) -> str:
    lines = [f"#compdef {command}", "_arguments \\"]
    for action in parser._actions:
        about = (action.help or "").replace("%%", "%")
        about = "".join(f"\\{each}" if each in "[]:\\" else each for each in about).replace("'", "'\\''")
        for flag in action.option_strings:
            lines.append(f"    '*{flag}[{about}]{_zsh_value(action)}' \\")
    return "\n".join(lines).removesuffix(" \\") + "\n"


def _zsh_value(action: argparse.Action) -> str:
    if not isinstance(action.metavar, str):
        return ""
    words = _WORDS.get(action.dest)
    what = f"({' '.join(words)})" if words is not None else "_files" if action.metavar in _FILES else ""
    return f"{'::' if action.nargs == '?' else ':'}{action.metavar.lower()}:{what}"


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]


def _with_value(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.option_strings and action.metavar is not None]
