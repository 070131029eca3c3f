"""Print a script by which a shell completes commands, their options, and the words these take.

It is made of words alone: completing starts no program and opens no database. The examples show how
a shell takes it for one session; to keep it, write it where the shell looks for such scripts.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output

EXAMPLES = """\
  curio-persistence completion bash > curio-persistence.bash; source curio-persistence.bash
  curio-persistence completion zsh > curio-persistence.zsh
  curio-persistence completion fish > curio-persistence.fish
"""

_BASH = """\
_curio_persistence() {{
    local words
    case "$COMP_CWORD ${{COMP_WORDS[1]}} ${{COMP_WORDS[COMP_CWORD-1]}}" in
{choices}
        "1 "*) words="{commands} --help --version";;
{options}
    esac
    COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
}}
complete -o default -F _curio_persistence curio-persistence curio
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def add_arguments(parser: ArgumentParser) -> None:
    shells = ("bash", "zsh", "fish")
    parser.add_argument("shell", metavar="SHELL", choices=shells, help="bash, zsh or fish")


def run(options: Namespace, output: Output) -> int:
    from curio_persistence.cli import command_parsers

    parsers = command_parsers()
    match options.shell:
        case "bash":
            output.text(_bash(parsers))
        case "zsh":
            output.text(_ZSH + _bash(parsers))
        case "fish":
            output.text("".join(f"{line}\n" for line in _fish(parsers)))
    return OK


def _bash(parsers: dict[str, ArgumentParser]) -> str:
    choices, options = [], []
    for command, parser in parsers.items():
        names = [name for name, _ in _options(parser)]
        for name, words in _options(parser):
            if words:
                choices.append(f'        *" {command} {name}") words="{" ".join(words)}";;')
        every = " ".join([*names, *_positional(parser)])
        options.append(f'        *" {command} "*) words="{every}";;')
    return _BASH.format(
        commands=" ".join(parsers), choices="\n".join(choices), options="\n".join(options)
    )


def _fish(parsers: dict[str, ArgumentParser]) -> Iterator[str]:
    start = "complete -c curio-persistence"
    yield f"{start} -n __fish_use_subcommand -f -a '{' '.join(parsers)}'"
    for command, parser in parsers.items():
        here = f"{start} -n '__fish_seen_subcommand_from {command}'"
        for name, words in _options(parser):
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            yield f"{here} {kind}" + (f" -x -a '{' '.join(words)}'" if words else "")
        if positional := _positional(parser):
            yield f"{here} -f -a '{' '.join(positional)}'"


def _options(parser: ArgumentParser) -> list[tuple[str, tuple[str, ...]]]:
    """The options, and the words that each takes if it takes no others."""
    return [
        (name, tuple(action.choices or ()))
        for action in parser._actions
        for name in action.option_strings
    ]


def _positional(parser: ArgumentParser) -> list[str]:
    """The words that stand without an option."""
    return [
        word
        for action in parser._actions
        if not action.option_strings
        for word in action.choices or ()
    ]
