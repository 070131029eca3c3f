"""Index what search has not indexed yet, or switch search on or off; or embed texts for similar.

Writes do not index: new records are indexed by the next search, or by this command. It may be
interrupted at any time, and continues where it stopped. What was done is said on stderr.

With --similar the texts of new records are embedded, for the command similar; --rebuild embeds all
anew, and --disable deletes the vectors of all models.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from curio_persistence.cli.arguments.options import add_embed_option, open_for_work
from curio_persistence.cli.exit_codes import OK
from curio_persistence.cli.terminal.output import Output, say
from curio_persistence.cli.terminal.progress import progress_line
from curio_persistence.errors import ConfigurationError, UnsupportedError

if TYPE_CHECKING:
    from curio_persistence import Persistence

EXAMPLES = """\
  curio-persistence index
  curio-persistence index --rebuild
  curio-persistence index --disable --db-path agent_sdk.db
  curio-persistence index --enable
  curio-persistence index --similar
"""


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--rebuild", action="store_true", help="index everything anew")
    group.add_argument("--enable", action="store_true", help="switch search on, and index")
    group.add_argument(
        "--disable", action="store_true", help="switch search off, and drop the index"
    )
    parser.add_argument(
        "--similar", action="store_true", help="embed texts for similar, in place of indexing words"
    )
    parser.add_argument(
        "--hnsw",
        action="store_true",
        help="with --similar on PostgreSQL: build an index of pgvector, which answers from 100,000 "
        "texts on in a tenth of the time",
    )
    add_embed_option(parser)


def run(options: Namespace, output: Output) -> int:
    with open_for_work(options) as persistence:
        if options.similar or options.hnsw:
            return _embed(persistence, options)
        if options.disable:
            persistence.search.disable()
            say(f"{persistence.location}: search is off.")
            return OK
        if options.enable:
            persistence.search.enable()
        if not persistence.search.enabled:
            raise UnsupportedError(f"{persistence.location} has search switched off: use --enable.")
        indexed = _index(persistence, anew=options.rebuild)
        say(f"{persistence.location}: {_done(indexed, persistence.search.pending())}.")
    return OK


def _done(indexed: int, waiting: int) -> str:
    if waiting:
        return f"{indexed:,} records indexed; {waiting:,} wait, because other programs index them"
    return f"{indexed:,} records indexed" if indexed else "nothing waits to be indexed"


def _index(persistence: Persistence, *, anew: bool) -> int:
    with progress_line("Indexing") as progress:
        if anew:
            return persistence.search.rebuild(progress=progress)
        return persistence.search.index_pending(progress=progress)


def _embed(persistence: Persistence, options: Namespace) -> int:
    if options.enable:
        raise ConfigurationError("--similar needs no --enable: texts are embedded when asked for.")
    similarity = persistence.similarity
    if options.disable:
        deleted = sum(map(similarity.delete, similarity.models()))
        say(f"{persistence.location}: {deleted:,} vectors deleted.")
        return OK
    if options.rebuild:
        similarity.delete()
    with progress_line("Embedding") as progress:
        seen = similarity.index_pending(progress=progress)
    if options.hnsw:
        similarity.create_index()
    texts = similarity.models().get(similarity.model, 0)
    say(f"{persistence.location}: {seen:,} new records; {texts:,} texts have a vector.")
    return OK
