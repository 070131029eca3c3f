"""The tables as hand-written SQL, a folder per dialect; installed as `curio_persistence.schema`."""
