"""Similarity: records whose texts mean much the same, whatever words they use."""

from __future__ import annotations

from functools import cached_property, partial
from math import inf, isnan
from time import monotonic
from typing import TYPE_CHECKING, Any, Unpack

from curio_persistence.capabilities.arguments import check_progress
from curio_persistence.capabilities.capability import Capability
from curio_persistence.capabilities.deletions import audit
from curio_persistence.capabilities.failures import FailureGroup
from curio_persistence.capabilities.search import checked_wait
from curio_persistence.capabilities.similarity.failing import similar_failures
from curio_persistence.capabilities.similarity.filtering import SimilarFilters, where_by_table
from curio_persistence.capabilities.similarity.finding import Finder, Question
from curio_persistence.capabilities.similarity.hits import SimilarHit, SimilarHits
from curio_persistence.capabilities.similarity.indexing import (
    Indexing,
    delete_all,
    other_dimension,
)
from curio_persistence.capabilities.similarity.matrix import Matrix
from curio_persistence.capabilities.similarity.models import (
    EmbedLike,
    Model,
    vector_of,
)
from curio_persistence.capabilities.similarity.texts import LONGEST, PARTS, TextKind, text_of
from curio_persistence.capabilities.stats import StatsFilters, where_of_stats
from curio_persistence.clock import Clock
from curio_persistence.errors import (
    AccessDeniedError,
    BusyError,
    ConfigurationError,
    InvalidValueError,
    StorageFullError,
    UnsupportedError,
)
from curio_persistence.progress import Progress
from curio_persistence.results.pages import Records
from curio_persistence.store.base import HealthCheck, Store
from curio_persistence.store.filters import (
    COUNT,
    Filter,
    Select,
    any_of,
    checked_count,
)
from curio_persistence.tables import EMBEDDINGS, RUNS

if TYPE_CHECKING:
    from curio_persistence.capabilities.similarity.models import Vectors

__all__ = ["SimilarFilters", "SimilarHit", "SimilarHits", "Similarity", "TextKind"]

_LONGEST_ID = 255
_MANY = 100_000
"""The number of texts from which an index is worth its build time."""


class Similarity(Capability):
    """Vectors of the texts of records, and questions for similar ones.

    The vectors are made when a question needs them, or by `index_pending`. `embed` makes them: see
    `Persistence.similar`.
    """

    def __init__(self, store: Store, clock: Clock, embed: EmbedLike = None) -> None:
        super().__init__(store.indexed, clock)
        self._whole = store
        self._model = Model(embed)

    @cached_property
    def _indexing(self) -> Indexing:
        if not self._whole.has_embeddings:
            raise UnsupportedError(
                f"{self._whole.location} has no vectors of texts: ask the database that it copies."
            )
        return Indexing(self._store, self._model)

    @cached_property
    def _matrix(self) -> Matrix:
        return Matrix(self._store, self._model.name)

    @property
    def model(self) -> str:
        """The name of the model that makes the vectors here."""
        return self._model.name

    # --- the vectors --------------------------------------------------------------------------

    def pending(self) -> int:
        """Return how many records this model has not seen yet."""
        return self._indexing.pending()

    def index_pending(
        self,
        *,
        limit: int | None = None,
        max_wait: float | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Embed the texts of waiting records, and return how many records these were.

        At most `limit`, and for about `max_wait` seconds. One process does it at a time; after a
        kill, the next call continues. `progress` is called with the number done and the total.
        """
        check_progress(progress)
        indexing = self._indexing
        self._whole.check_writable()
        self._store.check_outside("index_pending()")
        limit = None if limit is None else checked_count("limit", limit)
        until = None if max_wait is None else monotonic() + checked_wait(max_wait)
        return indexing.index_pending(limit=limit, until=until, progress=progress)[0]

    def models(self) -> dict[str, int]:
        """Return the models that made vectors here, with the number of texts."""
        return dict(sorted(self._store.aggregate(EMBEDDINGS, (COUNT,), group_by=("model",))))

    def delete(self, model: str | None = None) -> int:
        """Delete the vectors of a model, by default of the one used here; return how many.

        What asks next makes them anew.
        """
        name = self._model.name if model is None else model
        return delete_all(self._store, name)

    def create_index(self) -> bool:
        """Make questions fast on PostgreSQL with pgvector; False where they are already.

        All that waits is embedded first. The index, an HNSW, is built while others read and write;
        vectors that come later are added to it. Without it vectors are compared in memory, as they
        are on other backends, which have none: UnsupportedError.
        """
        self.index_pending()
        dim = self._indexing.dimension() or self._model.vectors(["text"]).shape[1]
        created = self._store.create_vector_index(self._model.name, dim)
        if created:
            audit(self._store, self._clock, "create index", self._model.name, "schema")
        return created

    def remove_orphans(self) -> None:
        """Delete the vectors of records that other programs deleted."""
        for table in PARTS:
            gone = (
                Filter("table_name", "=", table.name),
                Filter("row_id", "not in", Select(table, "id")),
            )
            self._store.delete(EMBEDDINGS, gone)

    def check(self) -> HealthCheck:
        """Return how many texts have a vector, how many records wait, and what compares them."""
        try:
            name = self._model.name
        except ConfigurationError as error:
            advice = "Name one that can be imported here: CURIO_EMBED=my_models:embed"
            return HealthCheck("similar", "warning", str(error).rstrip("."), advice)
        others = self.models()
        if not others:
            said = "no text has a vector yet: the first question makes them"
            return HealthCheck("similar", "ok", said)
        texts, waiting = others.pop(name, 0), self.pending()
        has_index = self._store.vector_index(name) is not None
        said = f"{texts:,} vectors by {name}; {waiting:,} records wait"
        said += "; an index of pgvector answers" if has_index else ""
        if others:
            said += f"; {sum(others.values()):,} by {', '.join(others)} are not used here"
        return HealthCheck("similar", "ok", said, _advice(texts, waiting, has_index=has_index))

    # --- questions ----------------------------------------------------------------------------

    def find(
        self,
        to: Any,
        *,
        top: int = 20,
        kind: TextKind | None = None,
        max_wait: float | None = 10.0,
        **filters: Unpack[SimilarFilters],
    ) -> SimilarHits:
        """Return what is most similar to a text, a run or a vector; see `Persistence.similar`."""
        count = checked_count("top", top)
        end = monotonic() + (inf if max_wait is None else checked_wait(max_wait))
        where = where_by_table(filters, kind, self._clock)
        self._store.check_outside("similar()")
        vector, own_run = self._vector(to, kind)
        pending = 0 if self._index(end) else self._indexing.pending()
        if (dim := self._indexing.dimension()) not in (None, len(vector)):
            raise other_dimension(self._model.name, dim, len(vector))
        is_filtered = any(where.values())
        if own_run is not None:  # Which is most similar to itself.
            where = {table: (*each, _not_of(own_run)) for table, each in where.items()}
        question = Question(vector, kind, where, is_filtered)
        finder = Finder(self._store, self._model.name, self._matrix, question)
        return SimilarHits(finder.find(count), pending)

    def failures(
        self, *, min_score: float = 0.5, **filters: Unpack[StatsFilters]
    ) -> Records[FailureGroup]:
        """Return what failed and why, as `stats.failures` does, grouped by meaning.

        Groups of one agent, tool or model are merged if their messages are at least so similar to
        the most frequent of them, which stands for all. Half is right for the model that comes with
        the extra; others have other scores.
        """
        is_number = isinstance(min_score, int | float) and not isinstance(min_score, bool)
        if not is_number or isnan(min_score):
            raise InvalidValueError(f"min_score is a number, not {min_score!r}.", field="min_score")
        where_of = partial(where_of_stats, filters, self._clock)
        return similar_failures(self._whole, where_of, self._model, min_score)

    def _index(self, until: float) -> bool:
        """Embed what waits; return False if some is left, as in a read-only database."""
        try:
            return self._indexing.index_pending(limit=None, until=until, progress=None)[1]
        except (AccessDeniedError, StorageFullError, BusyError):
            return False

    def _vector(self, to: Any, kind: TextKind | None) -> tuple[Vectors, str | None]:
        """Return the vector of a question, and the run that it is about."""
        if not isinstance(to, str):
            return vector_of(to), None
        if not to.strip():
            raise InvalidValueError("An empty text is similar to nothing.", field="to")
        text, run_id = self._text_of_run(to, kind) or (to, None)
        [vector] = self._model.vectors([text.strip()[:LONGEST]])
        if not vector.any():
            raise InvalidValueError(
                f"The model {self._model.name} knows no word of this text.", field="to"
            )
        return vector, run_id

    def _text_of_run(self, name: str, kind: TextKind | None) -> tuple[str, str] | None:
        """Return a text of the run with this id, and the id; None if the run does not exist."""
        if len(name) > _LONGEST_ID or not name.isprintable():
            return None
        part = PARTS[RUNS]
        [*runs] = part.decode(self._store.select(part, RUNS.where(run_id=name)))
        if not runs:
            return None
        kinds: tuple[TextKind, ...] = ("error", "prompt", "output") if kind is None else (kind,)
        texts = (text_of(RUNS, runs[0], each) for each in kinds if each != "message")
        if text := next(filter(None, texts), ""):
            return text, name
        wanted = "text" if kind is None else kind
        raise InvalidValueError(f"The run {name} has no {wanted} to compare with.", field="to")


def _advice(texts: int, waiting: int, *, has_index: bool) -> str:
    if waiting:
        return "To embed them now: curio-persistence index --similar"
    if texts >= _MANY and not has_index:
        return (
            "On PostgreSQL with pgvector an index answers faster: "
            "curio-persistence index --similar --hnsw"
        )
    return ""


def _not_of(run_id: str) -> Filter:
    """Return the filter for records that do not belong to a run."""
    return any_of((Filter("run_id", "is null"),), (Filter("run_id", "<>", run_id),))
