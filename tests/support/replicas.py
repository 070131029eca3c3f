"""Replicas in chdb. A process has one directory of chdb open, and each test a database in it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count

_numbers = count()


@cache
def chdb_directory() -> str:
    """Return the directory of this process, which is removed when the process ends."""
    directory = tempfile.mkdtemp(prefix="chdb-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def new_replica_url() -> str:
    """Return the URL of a replica that does not exist yet."""
    return f"chdb://{chdb_directory()}?database=replica_{next(_numbers)}"
