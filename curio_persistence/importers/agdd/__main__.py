"""`python -m curio_persistence.importers.agdd`."""

from __future__ import annotations

import sys

from curio_persistence.importers.agdd import main

sys.exit(main())
