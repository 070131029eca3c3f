"""How rows are kept: one module for each backend, all behind `store.base.Store`."""
