"""Show which database is used, where each setting comes from, and which settings are ignored.

The last settings say how long runs are kept, and where they are moved: see lifecycle.

Nothing is opened, and no password is shown. As JSON, a list of settings: `name`, `value`, `source`,
and for what is not in force `unused`, the reason.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_json_option, given_by
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import DIM, Output
from curio_persistence.cli.terminal.tables import Column, cell

if TYPE_CHECKING:
    from curio_persistence import Setting

EXAMPLES = """\
  curio-persistence config
  curio-persistence config --backend postgres
  curio-persistence config --json
"""

_COLUMNS = (Column("SETTING"), Column("VALUE", most=160), Column("FROM", grows=True))
_REASONS = (*_COLUMNS[:2], Column("FROM", most=160), Column("NOT USED, BECAUSE", grows=True))


def add_arguments(parser: ArgumentParser) -> None:
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import DatabaseConfig, LifecycleConfig

    settings = [*DatabaseConfig.explain(given=given_by(options)), *LifecycleConfig.explain()]
    if output.for_people:
        _show(settings, output)
    else:
        output.json([setting._asdict() for setting in settings])
    return OK


def _show(settings: list[Setting], output: Output) -> None:
    output.table(
        _COLUMNS,
        [
            (cell(name, DIM), cell(value), cell(source))
            for name, value, source, unused in settings
            if not unused
        ],
    )
    others = [setting for setting in settings if setting.unused]
    if others:
        output.line()
        output.table(
            _REASONS,
            [
                (cell(name, DIM), cell(value), cell(source), cell(unused))
                for name, value, source, unused in others
            ],
        )
