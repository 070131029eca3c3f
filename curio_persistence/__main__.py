"""`python -m curio_persistence` is the command `curio-persistence`."""

from __future__ import annotations

import sys

from curio_persistence.cli import main

if __name__ == "__main__":
    sys.exit(main())
