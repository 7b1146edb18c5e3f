"""What the operating system refuses is said in words."""

import errno
import gzip
from pathlib import Path

import pytest

from zoo import os_words


@pytest.mark.parametrize(
    ("error", "reason", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left", "/x"), "No space left", "/x: No space left"),
        (OSError(errno.ENOSPC, ""), "No space left on device", "the system refuses: No space left on device"),
        (OSError(errno.EXDEV, "no", "/x", None, "/y"), "no", "/x and /y: no"),
        (gzip.BadGzipFile("Not a gzipped file"), "Not a gzipped file", "Not a gzipped file"),
        (OSError(), "OSError", "OSError"),
        (ValueError("[Errno 28] No space"), "No space", None),
        (ValueError("I/O error: No space (os error 28)"), "I/O error: No space", None),
    ],
)  # fmt: skip
def test_a_reason_has_no_number_and_a_sentence_its_files(error, reason, sentence):
    assert os_words.reason(error) == reason
    if sentence:
        assert os_words.sentence(error) == sentence


def test_naming_says_the_file_of_a_write_that_names_none():
    with pytest.raises(OSError, match="/wanted") as caught, os_words.naming(Path("/wanted")):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert os_words.hint(caught.value).startswith("make room")
