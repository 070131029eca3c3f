"""Tests of the contracts, to be run on a persistence or a backend of your own.

Subclass a suite where pytest collects it, and supply the fixture it asks for; each test wants an
empty one::

    # conftest.py
    pytest.register_assert_rewrite("curio_persistence.testing")

    # test_my_persistence.py
    from curio_persistence.testing import PublishedContract


    class TestMyPersistence(PublishedContract):
        @pytest.fixture
        def persistence(self, tmp_path):
            with MyPersistence(tmp_path / "runs") as persistence:
                yield persistence

`PublishedContract` holds of whatever implements the ten methods of `BasePersistence`.
`StoreContract` is for the author of a `Store`, the layer below: with a store that passes it,
`Persistence(store)` has everything this library can do. Needs pytest: `curio-persistence[testing]`.
"""

from __future__ import annotations

from curio_persistence.testing.published_behavior import GeneralPromises
from curio_persistence.testing.published_calls import EventAndUsagePromises
from curio_persistence.testing.published_runs import RunPromises
from curio_persistence.testing.store_aggregates import AggregatePromises
from curio_persistence.testing.store_reading import ReadingPromises
from curio_persistence.testing.store_transactions import TransactionPromises
from curio_persistence.testing.store_writing import WritingPromises

__all__ = ["PublishedContract", "StoreContract"]


class PublishedContract(RunPromises, EventAndUsagePromises, GeneralPromises):
    """The promises of `BasePersistence` for the ten methods, and for what it adds to them."""


class StoreContract(WritingPromises, ReadingPromises, AggregatePromises, TransactionPromises):
    """The promises of `Store` for its primitives, shown on our tables.

    Rows are compared as records, since backends may spell one time differently.
    """
