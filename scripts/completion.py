"""Shell completion, from the commands' parsers."""

import argparse
import re
from collections.abc import Iterator, Mapping

from tcpcryptd.cli.options import ALGORITHMS, ANSWERS, FIREWALLS, OFFERS

Parsers = Mapping[str, argparse.ArgumentParser]

_WORDS = {"suites": ALGORITHMS, "protocol": tuple(OFFERS), "answer": tuple(ANSWERS), "firewall": FIREWALLS}
"""The values of options that have a few."""
_FILES = ("FILE", "PATH")
_BASH = """\
_@NAME@() {
    local word=${COMP_WORDS[COMP_CWORD]} at=$((COMP_CWORD - 1))
    # Bash takes --option=value for three words.
    [[ $word == = ]] && word= at=$((COMP_CWORD))
    [[ ${COMP_WORDS[at]} == = ]] && at=$((at - 1))
    COMPREPLY=()
@CASES@
}
complete -F _@NAME@ @COMMAND@
"""


def bash_completion(parsers: Parsers) -> dict[str, str]:
    """A file for each command, by its name."""
    commands = sorted({name.split()[0] for name in parsers})
    return {command: _bash(command, parsers) for command in commands}


def zsh_completion(parsers: Parsers) -> dict[str, str]:
    """A function file for each command, by its name."""
    commands = sorted({name.split()[0] for name in parsers})
    return {f"_{command}": _zsh(command, parsers) for command in commands}


def _subcommands(command: str, parsers: Parsers) -> dict[str, argparse.ArgumentParser]:
    return {name.split()[1]: parser for name, parser in parsers.items() if name.startswith(f"{command} ")}


def _bash(command: str, parsers: Parsers) -> str:
    subcommands = _subcommands(command, parsers)
    lines = []
    for name, parser in subcommands.items():
        lines.append(f"    if [[ ${{COMP_WORDS[1]}} == {name} && $COMP_CWORD -gt 1 ]]; then")
        lines += [f"    {line}" for line in _bash_case(parser, ())]
        lines += ["        return", "    fi"]
    lines += _bash_case(parsers[command], tuple(subcommands))
    values = {"NAME": re.sub(r"\W", "_", command), "COMMAND": command, "CASES": "\n".join(lines)}
    return re.sub(r"@([A-Z]+)@", lambda match: values[match[1]], _BASH)


def _bash_case(parser: argparse.ArgumentParser, subcommands: tuple[str, ...]) -> Iterator[str]:
    yield "    case ${COMP_WORDS[at]} in"
    for action in _with_value(parser):
        yield f"    {'|'.join(action.option_strings)}) {_bash_value(action)} ;;"
    words = _bash_words((*subcommands, *_flags(parser)))
    if any(action.metavar in _FILES for action in _operands(parser)):
        yield f"    *) if [[ $word == -* ]]; then {words}; else compopt -o default; fi ;;"
    else:
        yield f"    *) {words} ;;"
    yield "    esac"


def _bash_value(action: argparse.Action) -> str:
    words = _WORDS.get(action.dest)
    if words is not None:
        return _bash_words(words)
    if action.metavar in _FILES:
        # Readline's own completion of file names knows quotes, spaces, directories and ~.
        return "compopt -o default"
    return 'mapfile -t COMPREPLY < <(compgen -u -- "$word")' if action.metavar == "USER" else ":"


def _bash_words(words: tuple[str, ...]) -> str:
    return f'mapfile -t COMPREPLY < <(compgen -W "{" ".join(words)}" -- "$word")'


def _zsh(command: str, parsers: Parsers) -> str:
    subcommands = _subcommands(command, parsers)
    lines = [f"#compdef {command}"]
    for name, parser in subcommands.items():
        lines.append(f"if [[ $words[2] == {name} && $CURRENT -gt 2 ]]; then")
        lines += ["    shift words", "    (( CURRENT-- ))", *_zsh_arguments(parser), "    return", "fi"]
    first = [f"'1::command:({' '.join(subcommands)})'"] if subcommands else []
    return "\n".join([*lines, *_zsh_arguments(parsers[command], first)]) + "\n"


def _zsh_arguments(parser: argparse.ArgumentParser, first: list[str] | None = None) -> list[str]:
    specs = first or []
    for action in parser._actions:
        about = (action.help or "").replace("%%", "%")
        about = "".join(f"\\{each}" if each in "[]:\\" else each for each in about).replace("'", "'\\''")
        # The value may follow = or be the next word.
        joint = "=" if action in _with_value(parser) and isinstance(action.metavar, str) else ""
        specs += [
            f"'*{flag}{joint if flag.startswith('--') else ''}[{about}]{_zsh_value(action)}'"
            for flag in action.option_strings
        ]
    specs += [f"'1{_zsh_value(action)}'" for action in _operands(parser)]
    return ["_arguments -S \\", *(f"    {spec} \\" for spec in specs[:-1]), f"    {specs[-1]}"]


def _zsh_value(action: argparse.Action) -> str:
    if not isinstance(action.metavar, str):
        return "".join(f":{each.lower()}:" for each in action.metavar or ())
    words = _WORDS.get(action.dest)
    what = "_users" if action.metavar == "USER" else "_files" if action.metavar in _FILES else ""
    what = what if words is None else f"({' '.join(words)})"
    return "" if action.nargs == "?" else f":{action.metavar.lower()}:{what}"


def _flags(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    return tuple(flag for action in parser._actions for flag in action.option_strings if flag.startswith("--"))


def _operands(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not action.option_strings and isinstance(action.metavar, str)]


def _with_value(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    # What may stand without a value is followed by anything.
    return [each for each in parser._actions if each.option_strings and each.metavar is not None and each.nargs != "?"]
