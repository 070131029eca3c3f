"""The backends: one package for each, all behind `store.base.Store`."""
