"""Fetch what the console takes from npm, check it, and write it: `make vendor`.

Packages are fetched by npm itself, by name and version. What was not published as it is recorded in
VENDOR.toml is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

VENDOR = Path(__file__).parents[2] / "curio_persistence" / "console" / "static" / "vendor"
SUMS = "SHA256SUMS"
_SHAPE = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)


def packages() -> list[dict[str, Any]]:
    """Return the packages that VENDOR.toml lists."""
    listed: list[dict[str, Any]] = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["package"]
    return listed


def written_files() -> list[str]:
    """Return the names of all files that `make vendor` writes."""
    return [name for package in packages() for name in _names(package)]


def _names(package: dict[str, Any]) -> list[str]:
    names = [each["to"] for each in (*package["files"], package["licence_file"])]
    return [*names, package["sprite"]] if "sprite" in package else names


def fetched(name: str, version: str, sha512: str) -> bytes:
    """Return a package of npm as it was published; raise ValueError if it is another."""
    with TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{name}@{version}", "--silent", "--pack-destination", folder]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        [archive] = Path(folder).glob("*.tgz")
        content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != sha512:
        raise ValueError(f"{name} {version} is not what VENDOR.toml recorded")
    return content


def unpacked(package: dict[str, Any], content: bytes) -> dict[str, bytes]:
    """Return the files of a package by the names under which they are kept."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        read = _reader(archive)
        taken = (*package["files"], package["licence_file"])
        files = {each["to"]: read(each["path"]) for each in taken}
        if "sprite" in package:
            files[package["sprite"]] = sprite({i: read(f"icons/{i}.svg") for i in package["icons"]})
    return files


def _reader(archive: tarfile.TarFile) -> Any:
    def read(path: str) -> bytes:
        member = archive.extractfile(f"package/{path}")
        assert member is not None
        return member.read()

    return read


def sprite(icons: dict[str, bytes]) -> bytes:
    """Return one file in which each icon is a symbol."""
    symbols = "\n".join(
        f'<symbol id="{name}" viewBox="0 0 24 24">{_shape(icon.decode())}</symbol>'
        for name, icon in sorted(icons.items())
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg">\n{symbols}\n</svg>\n'.encode()


def _shape(icon: str) -> str:
    found = _SHAPE.search(icon)
    assert found is not None
    return re.sub(r"\s*\n\s*", "", found[1]).replace(" />", "/>")


def sums() -> dict[str, str]:
    """Return the recorded sha256 of each file by its name."""
    lines = (VENDOR / SUMS).read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def main() -> None:
    files: dict[str, bytes] = {}
    for package in packages():
        content = fetched(package["name"], package["version"], package["sha512"])
        files |= unpacked(package, content)
    for name, content in files.items():
        (VENDOR / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    (VENDOR / SUMS).write_text("".join(f"{digests[name]}  {name}\n" for name in sorted(digests)))


if __name__ == "__main__":
    main()
