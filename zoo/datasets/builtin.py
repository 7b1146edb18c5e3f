"""The data sets that come with the zoo: small slices, one file each. zoo/datasets/files/NOTICE.md has their origins.

tools/builtin_data.py makes the files and prints the sizes and hashes that are written here.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DataError
from zoo.os_words import reason

FILES = Path(__file__).parent / "files"


@dataclass(frozen=True)
class BuiltIn:
    """One built-in set. count: how many works, images, ... it has. bytes, sha256: of its one file."""

    name: str
    modality: str
    about: str
    count: int
    licence: str
    file: str
    bytes: int
    sha256: str

    def path(self) -> Path:
        """The file, whose bytes are those that were made. Raises DataError when they are not."""
        path = FILES / self.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise self._damaged(path, f"cannot be read: {reason(error)}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256:
            said = (
                f"has {len(content)} bytes, sha256 {found}; {self.bytes} bytes, {self.sha256} were expected"
            )
            raise self._damaged(path, said)
        return path

    def _damaged(self, path: Path, how: str) -> DataError:
        return DataError(
            f"the built-in data {self.name}: {path} {how}",
            hint="install zoo-core again: pip install --force-reinstall zoo-core",
        )


BUILT_IN = {
    built_in.name: built_in
    for built_in in (
        BuiltIn(
            "shakespeare",
            "text",
            "plays and poems, one document a work",
            42,
            "public domain",
            "shakespeare.zip",
            1_645_668,
            "39bb3387f1f13d8d4886e351114b066635bca4fff2fffdfd8e67c6135f149dfd",
        ),
        BuiltIn(
            "mnist",
            "image",
            "handwritten digits of 28x28 pixels, with labels",
            10_000,
            "CC-BY-SA-3.0",
            "mnist.npz",
            1_379_977,
            "ba161d88405d47b24b6d0b139dc1ac1e504ec3df18895ed6872b353994169eb8",
        ),
        BuiltIn(
            "digits",
            "image",
            "handwritten digits of 8x8 pixels, with labels",
            1_797,
            "BSD-3-Clause",
            "digits.npz",
            41_873,
            "c791510d2c609d4edf2ccbfcafe7c410fd583fabc3568629b57f94d518cf2592",
        ),
        BuiltIn(
            "emoji",
            "image",
            "faces, food and drink of 64x64 pixels, with captions",
            300,
            "CC-BY-4.0 AND MIT",
            "emoji.zip",
            824_347,
            "5a041415ac5f304e949594e780e237680d813f201e6ed227e4904d877c6b0204",
        ),
        BuiltIn(
            "drums",
            "audio",
            "hits of drums and other percussion, 16 kHz mono",
            64,
            "CC0-1.0",
            "drums.zip",
            634_694,
            "d7c0d1da2afb9c559e0cce1193fb2db69523ec0a057f02f7515507952a751b21",
        ),
        BuiltIn(
            "smiles",
            "molecule",
            "molecules as SMILES",
            4_999,
            "BSD-3-Clause",
            "smiles.zip",
            27_135,
            "bbc77728fa837fb3eccde820a165304925f007fc46ce006aef72352c437499ab",
        ),
        BuiltIn(
            "sunspots",
            "sequence",
            "the yearly number of sunspots, 1700 to 2008",
            309,
            "public domain",
            "sunspots.csv",
            1_387,
            "1cb74c0bf6188103106194c4895f8cba0bca94cfe2d606502152efbb5b8dd1b7",
        ),
    )
}
"""Every built-in set by its name."""
