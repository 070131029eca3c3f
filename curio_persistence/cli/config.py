"""Show which database is meant, where each setting comes from, and which are set in vain.

Nothing is opened, and no password is shown. As JSON, a list of settings: `name`, `value`, `source`,
and for what is not in force `unused`, the reason.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING
from urllib.parse import quote

from curio_persistence.cli.exits import OK
from curio_persistence.cli.options import add_json_option, chosen_by, database
from curio_persistence.cli.output import DIM, Output
from curio_persistence.cli.tables import Column, cell

if TYPE_CHECKING:
    from curio_persistence import Setting

EXAMPLES = """\
  curio-persistence config
  curio-persistence config --backend postgres
  curio-persistence config --json
"""

_COLUMNS = (Column("SETTING"), Column("VALUE", most=60), Column("FROM", grows=True))
_REASONS = (*_COLUMNS[:2], Column("FROM", most=60), Column("NOT USED, BECAUSE", grows=True))


def add_arguments(parser: ArgumentParser) -> None:
    add_json_option(parser)


def run(options: Namespace, output: Output) -> int:
    from curio_persistence import DatabaseConfig

    settings = DatabaseConfig.explain(given=_given(options))
    if output.for_people:
        _show(settings, output)
    else:
        output.json([setting._asdict() for setting in settings])
    return OK


def _given(options: Namespace) -> dict[str, dict[str, str]]:
    """The variables that would say what the options say."""
    database(options)  # Which refuses what makes no sense.
    if options.url is not None:
        return {"--url": {"CURIO_DATABASE_URL": options.url}}
    if options.db_path is not None:
        return {"--db-path": {"CURIO_DATABASE_URL": f"sqlite:///{quote(options.db_path)}"}}
    return {} if options.backend is None else {"--backend": chosen_by(options.backend)}


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
