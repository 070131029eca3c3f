"""Where the packages are; everything else about the distribution is in setup.cfg."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["curio_persistence", "curio_persistence.*"]),
        "curio_persistence.schema",
    ],
    # SQL is an artefact of its own, so it is at the top of the repository, and is copied into
    # the package when that is built.
    package_dir={"curio_persistence.schema": "schema"},
    package_data={
        "curio_persistence": ["py.typed"],
        "curio_persistence.console": ["templates/**/*", "static/**/*"],
        "curio_persistence.schema": ["*/*.sql", "*/*/*.sql"],
    },
)
