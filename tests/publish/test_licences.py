"""Licences: SPDX, asked for by name, never taken for granted."""

from __future__ import annotations

import pytest

from publish.conftest import LICENCES
from zoo.errors import UsageError
from zoo.publish.licences import checked, front_matter


def test_licences_are_written_as_spdx_writes_them():
    found = checked({"weights": "mit", "data": " Unknown ", "code": "apache-2.0 or gpl-3.0-only"})
    assert (found.weights, found.data, found.code) == ("MIT", "unknown", "Apache-2.0 OR GPL-3.0-only")
    assert checked(found) == found


def test_all_that_miss_are_named_at_once():
    with pytest.raises(UsageError, match="the licences of data and code are missing") as told:
        checked({"weights": "MIT", "code": "  "})
    assert told.value.hint == "give --licence-data SPDX, --licence-code SPDX, or unknown"
    with pytest.raises(UsageError, match="the licence of weights is missing"):
        checked({**LICENCES, "weights": ""})


@pytest.mark.parametrize(
    ("wrong", "near"), [("Apache 2.0", "apache-2.0"), ("CC BY 4.0", "cc-by-4.0"), ("x", "")]
)
def test_what_is_no_licence_is_refused_with_the_nearest(wrong, near):
    with pytest.raises(UsageError, match="is not an SPDX licence") as told:
        checked({**LICENCES, "data": wrong})
    assert (f"did you mean {near}?" in str(told.value)) == bool(near)


def test_an_unknown_part_is_refused():
    with pytest.raises(UsageError, match="there is no part 'model'"):
        checked({**LICENCES, "model": "MIT"})


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("MIT", {"license": "mit"}),
        ("unknown", {"license": "unknown"}),
        ("GPL-3.0-or-later", {"license": "gpl-3.0"}),
        ("ODbL-1.0", {"license": "odbl"}),
        (
            "0BSD",
            {
                "license": "other",
                "license_name": "0bsd",
                "license_link": "https://spdx.org/licenses/0BSD.html",
            },
        ),
        (
            "MIT OR Apache-2.0",
            {
                "license": "other",
                "license_name": "mit-or-apache-2.0",
                "license_link": "https://spdx.org/licenses/",
            },
        ),
    ],
)
def test_the_hub_is_told_its_own_identifier_or_other(licence, said):
    assert front_matter(licence) == said
