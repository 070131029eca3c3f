"""Export of runs as what was said in them: trajectories of ATIF, and examples for fine-tuning.

One run after the other is read and written, with its child runs; those that are left out are
counted by the reason.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from curio_persistence.atomic_files import MANIFEST, file_in, whole_file, whole_folder
from curio_persistence.capabilities.deletions import audit_reading
from curio_persistence.errors import InvalidValueError, NotFoundError
from curio_persistence.export import atif, chat
from curio_persistence.export.formats import json_line
from curio_persistence.export.records import checked_persistence, checked_target
from curio_persistence.export.score_filters import ScoreFilter, score_filters
from curio_persistence.models import AgentRun, AgentRunStatus
from curio_persistence.persistence import Persistence
from curio_persistence.progress import Progress
from curio_persistence.redaction import Redactor, redactor_of
from curio_persistence.views.dialogues import Dialogue, Utterance
from curio_persistence.views.histories import History
from curio_persistence.views.runs import DEEPEST
from curio_persistence.views.values import compact, parsed

Path_ = str | os.PathLike[str]
Where = str | Collection[str]
Redact = Redactor | str | Collection[str] | None
Put = Callable[[str, Any], None]

PER = ("run", "session")
"""The records that become one trajectory."""
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class DialogueReport:
    """The outcome of an export: the number of runs written, and of runs left out, by reason.

    Of trajectories for each session, it is the number of sessions.

    `path` is a file or folder, and None where it went to a file that was open.
    """

    path: str | None
    format: str
    runs: int
    left_out: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Everything by name, ready for JSON."""
        return asdict(self)


def export_atif(
    persistence: Persistence,
    path: Path_ | BinaryIO,
    *,
    per: str = "run",
    where: Where = (),
    redact: Redact = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> DialogueReport:
    """Write runs as trajectories of ATIF 1.8, each with its child runs embedded.

    A `path` that ends in `.jsonl`, or a binary file that is open, gets a trajectory on each line,
    one that ends in `.json` that of one run; any other is a folder with a file for each run. The
    filters are those of `query_agent_runs`; a run whose parent is stored is part of that. With
    `per="session"` the runs of a session that pass are one trajectory. `where` has conditions on
    scores, such as `"score.quality >= 0.8"`. `redact` replaces secrets as the argument `redactor`
    of a persistence does.
    """
    if per not in PER:
        raise InvalidValueError(f"per is {' or '.join(PER)}, not {per!r}.", field="per")
    export = _Export(checked_persistence(persistence), score_filters(where), redact, progress)
    target = checked_target(path)
    export.tell(target, "atif", filters)
    with _trajectories(target, overwrite) as put:
        for trajectory in export.trajectories(filters, per):
            if trajectory is None:
                export.leave_out("nothing was said")
            else:
                put(trajectory["trajectory_id"], trajectory)
                export.count()
    return export.report(target, "atif")


def export_chat(
    persistence: Persistence,
    path: Path_ | BinaryIO,
    *,
    format: str = "openai",
    where: Where = (),
    redact: Redact = "keys,api-keys",
    overwrite: bool = False,
    progress: Progress | None = None,
    **filters: Any,
) -> DialogueReport:
    """Write runs as examples for fine-tuning, one on each line of a file.

    `format` is "openai" (chat messages) or "sharegpt" (conversations). Only whole dialogues are
    written, without what was copied from earlier runs. The filters are those of `query_agent_runs`;
    without `status`, runs that completed are taken. `where` has conditions on scores, such as
    `"score.quality >= 0.8"`. `redact` replaces secrets as the argument `redactor` of a persistence
    does; None leaves the words as they are stored.
    """
    if format not in chat.FORMATS:
        known = " or ".join(chat.FORMATS)
        raise InvalidValueError(f"format is {known}, not {format!r}.", field="format")
    export = _Export(checked_persistence(persistence), score_filters(where), redact, progress)
    target = checked_target(path)
    if filters.get("status") is None:
        filters["status"] = AgentRunStatus.COMPLETED.value
    export.tell(target, format, filters)
    with _lines(target, overwrite) as put:
        for history in export.histories(filters, roots=False):
            found: Any = chat.example_of(history, export.redacted)
            if isinstance(found, chat.Example):
                found = chat.FORMATS[format](found)
            if isinstance(found, chat.Gap):
                export.leave_out(found.why)
            else:
                put(history.run.run_id, found)
                export.count()
    return export.report(target, format)


class _Export:
    def __init__(
        self,
        persistence: Persistence,
        scores: Collection[ScoreFilter],
        redact: Redact,
        progress: Progress | None,
    ) -> None:
        self._persistence = persistence
        self._scores = scores
        self._redact = redactor_of(redact)
        self._progress = progress
        self._runs = self._seen = 0
        self._left_out: Counter[str] = Counter()

    def tell(self, target: Path | BinaryIO, format: str, filters: dict[str, Any]) -> None:
        """Add a line to the audit log."""
        where = str(target.absolute()) if isinstance(target, Path) else "an open file"
        given = {name: value for name, value in filters.items() if value is not None}
        store, clock = self._persistence._store, self._persistence.clock
        audit_reading(store, clock, "export", where, "file", format=format, filters=given)

    def trajectories(self, filters: dict[str, Any], per: str) -> Iterator[atif.Object | None]:
        """Yield a trajectory for each run that has no parent here, or for each session of some."""
        if per == "run":
            for history in self.histories(filters, roots=True):
                yield atif.trajectory_of(history, self.redacted)
            return
        sessions: set[str] = set()
        for run in self._persistence.runs.iterate(order="oldest", snapshot=False, **filters):
            if self._is_part(run, filters) or run.session_id in sessions:
                continue
            chosen = {"run_id": run.run_id}
            if run.session_id is not None:
                sessions.add(run.session_id)
                chosen = {"session_id": run.session_id}
            if found := [*self.histories({**filters, **chosen}, roots=True)]:
                yield atif.trajectory_of_session(found, self.redacted)

    def histories(self, filters: dict[str, Any], *, roots: bool) -> Iterator[History]:
        """Yield the runs that pass the filters, oldest first, each with all that belongs to it."""
        runs = self._persistence.runs
        for run in runs.iterate(order="oldest", snapshot=False, **filters):
            if roots and self._is_part(run, filters):
                continue
            self._seen += 1
            if self._progress is not None:
                self._progress(self._seen, None)
            if self._pass_scores(run):
                try:
                    yield runs.history(run.run_id, depth=DEEPEST if roots else 0)
                except NotFoundError:  # It was deleted in this moment.
                    self._left_out["deleted meanwhile"] += 1

    def _is_part(self, run: AgentRun, filters: dict[str, Any]) -> bool:
        """Return whether a run is embedded in its parent; one that is asked for stands alone."""
        if run.parent_run_id is None or filters.get("run_id") is not None:
            return False
        return self._persistence.get_agent_run(run.parent_run_id) is not None

    def _pass_scores(self, run: AgentRun) -> bool:
        if not self._scores:
            return True
        scores = [s for s in self._persistence.scores.list(run.run_id) if s.span_id is None]
        passes = all(each.passes(scores) for each in self._scores)
        if not passes:
            self._left_out["its scores do not pass"] += 1
        return passes

    def redacted(self, dialogue: Dialogue) -> Dialogue:
        """Return a dialogue whose words have passed the redactor."""
        if self._redact is None:
            return dialogue
        for each in dialogue.utterances:
            self._clean(each, self._redact)
        return dialogue

    def _clean(self, said: Utterance, redact: Redactor) -> None:
        said.text = redact("Utterance.text", said.text)
        said.thinking = redact("Utterance.thinking", said.thinking)
        said.observed = [_redacted(redact, "observed", each) for each in said.observed]
        said.content = _redacted(redact, "content", said.content)
        if said.call is not None and said.call.error_message:
            error = redact("Utterance.error", said.call.error_message)
            said.call = replace(said.call, error_message=error)
        for action in said.actions:
            for name in ("arguments", "result", "error"):
                setattr(action, name, _redacted(redact, name, getattr(action, name)))

    def leave_out(self, why: str) -> None:
        self._left_out[why] += 1

    def count(self) -> None:
        self._runs += 1

    def report(self, target: Path | BinaryIO, format: str) -> DialogueReport:
        where = str(target) if isinstance(target, Path) else None
        left_out = dict(sorted(self._left_out.items(), key=lambda each: (-each[1], each[0])))
        return DialogueReport(where, format, self._runs, left_out)


def _redacted(redact: Redactor, name: str, value: Any) -> Any:
    """Return a value whose text, or whose JSON, has passed the redactor."""
    if value is None:
        return None
    redacted = redact(f"Utterance.{name}", compact(value))
    return redacted if isinstance(value, str) else parsed(redacted)


# --- files ----------------------------------------------------------------------------------------


@contextmanager
def _lines(target: Path | BinaryIO, overwrite: bool) -> Iterator[Put]:
    """Put each object on a line of its own."""
    if isinstance(target, Path):
        with whole_file(target, overwrite=overwrite) as file:
            yield partial(_put_line, file)
    else:
        yield partial(_put_line, target)


def _put_line(file: BinaryIO, _: str, value: Any) -> None:
    file.write(atif.encode(value))


@contextmanager
def _trajectories(target: Path | BinaryIO, overwrite: bool) -> Iterator[Put]:
    if not isinstance(target, Path) or target.suffix.lower() == ".jsonl":
        with _lines(target, overwrite) as put:
            yield put
    elif target.suffix.lower() == ".json":
        with whole_file(target, overwrite=overwrite) as file:
            one = _One(file)
            yield one
            one.check()
    else:
        with whole_folder(target, overwrite=overwrite) as folder:
            files = _Folder(folder)
            yield files
            with file_in(folder, MANIFEST) as file:
                file.write(json_line({"format": atif.VERSION, "files": files.names}))


class _One:
    """A file with the one trajectory that there is."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0

    def __call__(self, _: str, trajectory: Any) -> None:
        self._count += 1
        if self._count == 1:
            self._file.write(atif.encode(trajectory, indent=2))

    def check(self) -> None:
        if not self._count:
            raise NotFoundError("No run that passes the filters has words: no file is written.")
        if self._count > 1:
            raise InvalidValueError(
                f"A .json file has one trajectory, and {self._count:,} runs pass the filters: "
                "choose one run by its id, or write a .jsonl file or a folder.",
                field="path",
            )


class _Folder:
    """A folder with a file for each trajectory, which is named after its run."""

    def __init__(self, folder: Path) -> None:
        self.names: dict[str, str] = {}
        self._folder = folder

    def __call__(self, run_id: str, trajectory: Any) -> None:
        name = f"{len(self.names) + 1:06}-{_UNSAFE.sub('-', run_id)[-160:]}.json"
        with file_in(self._folder, name) as file:
            file.write(atif.encode(trajectory, indent=2))
        self.names[name] = run_id
