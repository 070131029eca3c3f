"""Every backend fulfils both contracts."""

from __future__ import annotations

from curio_persistence.testing import PublishedContract, StoreContract


class TestPublishedContract(PublishedContract):
    pass


class TestStoreContract(StoreContract):
    pass
