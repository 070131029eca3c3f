"""List the agents that have run, those that were seen last first.

--since and --until are about when an agent was last seen. As JSON, a list of agents, each an object
of its fields.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.filters import add_filters, filters
from curio_persistence.cli.arguments.listing import Question, add_listing_options, nothing, show
from curio_persistence.cli.arguments.options import open_for_reading
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output
from curio_persistence.cli.terminal.tables import Cell, Column, cell
from curio_persistence.views.wording import local_time

if TYPE_CHECKING:
    from curio_persistence import Agent

EXAMPLES = """\
  curio-persistence agents
  curio-persistence agents --since 7d --json
  curio-persistence agents --user ann --limit all
"""


def add_arguments(parser: ArgumentParser) -> None:
    add_filters(parser, "agents", "agent_id", "session_id", "user_id")
    add_listing_options(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_reading(options) as persistence:
        agents = persistence.agents
        question = Question(agents.query, agents.iterate, filters(options))
        said = nothing(persistence, "agents", question.is_narrowed)
        show(persistence, question, options, output, _rows, said)
    return OK


def _rows(agents: Sequence[Agent]) -> tuple[Sequence[Column], list[list[Cell]]]:
    columns = (
        Column("AGENT", most=255),
        Column("NAME", most=32),
        Column("FIRST SEEN"),
        Column("LAST SEEN"),
        Column("DESCRIPTION", grows=True),
    )
    return columns, [_row(agent) for agent in agents]


def _row(agent: Agent) -> list[Cell]:
    return [
        cell(agent.agent_id),
        cell(agent.name or None),
        cell(local_time(agent.first_seen_at, "minutes")),
        cell(local_time(agent.last_seen_at, "minutes")),
        cell(agent.description),
    ]
