"""The licences of what is pushed: asked for, checked against SPDX, never guessed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zoo.errors import UsageError
from zoo.registry.entry import Licences
from zoo.text_safety import safe_text

PARTS = ("weights", "data", "code")
"""What has a licence of its own: the weights, the data they were trained on, the code that made them."""

UNKNOWN = "unknown"

_KNOWN = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 c-uda cc0-1.0
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0
    cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-permissive-1.0
    cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 gpl-2.0 gpl-3.0 isc
    lgpl-2.1 lgpl-3.0 lppl-1.3c mit mpl-2.0 ms-pl ncsa ofl-1.1 osl-3.0 postgresql unknown unlicense wtfpl zlib
"""
_HUB = frozenset(_KNOWN.split())
"""The identifiers that the Hub knows among those of SPDX, in its spelling."""

_HUB_NAMES = {"odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl"}


def checked(given: Mapping[str, str] | Licences) -> Licences:
    """The licences of all three parts in SPDX's own spelling.

    given: weights, data and code, each an SPDX expression such as MIT, or the word unknown.
    Raises UsageError for one that is no licence, and naming all that are missing.
    """
    said = asdict(given) if isinstance(given, Licences) else dict(given)
    for part in said:
        if part not in PARTS:
            raise UsageError(f"licences: there is no part {part!r}; allowed: {', '.join(PARTS)}")
    if absent := missing(said):
        subject = "licence" if len(absent) == 1 else "licences"
        verb = "is" if len(absent) == 1 else "are"
        raise UsageError(
            f"the {subject} of {_listed(absent)} {verb} missing, and none is taken for granted",
            hint="give " + ", ".join(f"--licence-{part} SPDX" for part in absent) + f", or {UNKNOWN}",
        )
    return Licences(**{part: spdx(said[part], what=f"licence of the {part}") for part in PARTS})


def missing(given: Mapping[str, str]) -> tuple[str, ...]:
    """The parts of which no licence is given."""
    return tuple(part for part in PARTS if not given.get(part, "").strip())


def spdx(text: str, *, what: str) -> str:
    """An SPDX expression in SPDX's spelling, or "unknown". Raises UsageError, with the nearest identifier."""
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    text = text.strip()
    if text.lower() == UNKNOWN:
        return UNKNOWN
    try:
        return str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        near = difflib.get_close_matches("-".join(text.lower().split()), sorted(_HUB), n=1, cutoff=0.5)
        raise UsageError(
            f"{what}: {safe_text(text)!r} is not an SPDX licence"
            + (f"; did you mean {near[0]}?" if near else ""),
            hint=f"https://spdx.org/licenses lists them; write {UNKNOWN} where it is not known",
        ) from None


def front_matter(licence: str) -> dict[str, Any]:
    """The Hub's words for an SPDX licence in a card's YAML: its own identifier, or "other" with name and link."""
    name = licence.lower().removesuffix("-only").removesuffix("-or-later")
    name = _HUB_NAMES.get(name, name)
    if name in _HUB or name in _HUB_NAMES.values():
        return {"license": name}
    link = "https://spdx.org/licenses/" + (
        "" if " " in licence or "LicenseRef" in licence else f"{licence}.html"
    )
    return {"license": "other", "license_name": "-".join(licence.lower().split()), "license_link": link}


def _listed(words: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
