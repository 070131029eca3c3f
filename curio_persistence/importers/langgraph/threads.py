"""The turns of a thread, and the runs of its subgraphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from curio_persistence.importers.common.sqlite_tables import Database
from curio_persistence.importers.common.writer import ImportedRecord
from curio_persistence.importers.langgraph.checkpoints import Graph, graphs_of
from curio_persistence.importers.langgraph.messages import Message, told
from curio_persistence.importers.sessions.context import SessionContext
from curio_persistence.importers.sessions.files import SessionFile
from curio_persistence.importers.sessions.places import Place, text_of
from curio_persistence.importers.sessions.turns import Conversation, OpenTurn

_HUMAN = "human"


class ThreadReader:
    """Reads one thread."""

    def __init__(
        self, database: Database, thread: str, file: SessionFile, context: SessionContext
    ) -> None:
        self._database, self._thread = database, thread
        self._file, self._context = file, context
        self._place = Place(context, file.name, what=f"thread {thread}")
        self._conversation = Conversation(context, thread)
        self._seen: set[str] = set()
        self._begun: list[OpenTurn] = []
        self.is_live = False

    def records(self) -> Iterator[ImportedRecord]:
        """Yield the turns of the graph, then each subgraph as an agent that one of them started.

        A subgraph may begin with the messages of the graph: they are the graph's.
        """
        for graph in graphs_of(self._database, self._thread):
            found = graph.messages(self._place)
            new = [message for message in found if message.key not in self._seen]
            self._seen.update(message.key for message in new)
            parts = [new] if graph.namespace else list(self._turns_in(new))
            for number, messages in enumerate(filter(None, parts), start=1):
                yield from self._run(graph, messages, is_last=number == len(parts))

    def _turns_in(self, messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
        """Yield the messages of each turn, from a prompt to the next."""
        starts = [n for n, message in enumerate(messages) if message.kind == _HUMAN]
        self._context.skip("before the first prompt", min(starts, default=len(messages)))
        for start, end in pairwise([*starts, len(messages)]):
            yield messages[start:end]

    def _run(
        self, graph: Graph, messages: Sequence[Message], *, is_last: bool
    ) -> Iterator[ImportedRecord]:
        turn = self._open(graph, messages[0])
        for message in messages:
            if message.kind == _HUMAN:
                turn.describe(text_of(message.fields.get("content")))
            else:
                yield from told(turn, message, self._place)
        if is_last and (error := graph.error(self._place)) is not None:
            turn.fail(error)
        is_live = is_last and self._context.is_live(self._file, turn.last_at)
        self.is_live |= is_live
        goes_on = is_live or (is_last and graph.is_waiting())
        yield from turn.end(self._place, is_last=is_last, is_live=goes_on)

    def _open(self, graph: Graph, first: Message) -> OpenTurn:
        if graph.namespace:
            return OpenTurn(
                self._conversation,
                f"agent-{graph.namespace}",
                first.at,
                agent=str(graph.namespace).rpartition("|")[2].partition(":")[0],
                parent=self._parent(first),
            )
        turn = OpenTurn(self._conversation, first.key, first.at)
        self._begun.append(turn)
        return turn

    def _parent(self, first: Message) -> str | None:
        """Return the turn in which a subgraph began."""
        before = [
            turn
            for turn in self._begun
            if first.at is None or turn.began is None or turn.began <= first.at
        ]
        return before[-1].run_id if before else None
