"""The Hub as one who writes there meets it: the token, the client under the guard, and what its refusals mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

import zoo
from zoo.errors import HubError, OfflineError, UsageError
from zoo.weights import layout, listing, network

if TYPE_CHECKING:
    import httpx2
    from huggingface_hub import HfApi

    from zoo.weights.guard import Guard

_SILENCE = 120.0  # seconds without a byte: a commit of many files takes the Hub a while

T = TypeVar("T")


def token() -> str:
    """The token to push with. Raises OfflineError where no request may be made, HubError without a token."""
    if network.is_offline():
        raise OfflineError("pushing needs the network, which may not be used", hint="unset HF_HUB_OFFLINE")
    network.load_guard()
    from huggingface_hub import get_token

    found = get_token()
    if not found:
        raise HubError(
            "there is no token to push with",
            hint="log in: `hf auth login`, or set HF_TOKEN to a token that may write",
        )
    return found


@contextmanager
def asking(repo: str) -> Iterator[tuple[Guard, HfApi]]:
    """The Hub's client with the token, under a guard that explains what refuses a push."""
    from zoo.weights.answers import OFFLINE

    key = token()
    guarded = network.load_guard()
    from huggingface_hub import HfApi

    api = HfApi(network.endpoint(), key, library_name="zoo", library_version=zoo.__version__)
    guard = guarded.Guard(repo, network.endpoint(), silence=_SILENCE, secrets={key})
    guard.explain = lambda response, said: _meaning(repo, response, said)
    with guarded.guarding(guard), _without_bars():
        try:
            yield guard, api
        except HubError as error:
            if error.hint == OFFLINE:  # a cache is no help to who sends
                error.hint = "check the network"
            raise


@contextmanager
def _without_bars() -> Iterator[None]:
    """The client draws no bars of its own: `report` says how far things are."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled() or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") is not None:
        yield  # the client refuses to change what the environment says
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


class RefusedError(HubError):
    """The Hub understood what was asked and did not do it."""


class _AbsentError(RefusedError):
    """There is no such repo, as far as this token may see."""


def _meaning(repo: str, response: httpx2.Response, said: str) -> HubError | None:
    """What a refusal means to someone who pushes; None where it means what it means to everyone."""
    from zoo.weights.answers import LOG_IN

    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    because = said and f": {said}"
    if status == 404 and code == "RepoNotFound":
        return _AbsentError(f"the Hub answered 404: there is no repo {repo}, or this token may not see it")
    if status == 401:
        return RefusedError(f"the Hub answered 401: the token is not valid{because}", hint=LOG_IN)
    if status in (402, 403):
        return RefusedError(
            f"the Hub answered {status}: this account or token may not write to {repo}{because}",
            hint=f"a token that may write there is needed; {LOG_IN}",
        )
    if status in (409, 412):
        return RefusedError(
            f"the Hub answered {status}: {repo} was changed by someone else meanwhile{because}"
        )
    return None


def head(guard: Guard, revision: str) -> tuple[str, bool]:
    """The commit of a branch, and whether the repo is private; ("", False) when there is no such repo."""
    if reason := layout.unsafe(revision):
        raise UsageError(f"{revision!r} is not a branch: {reason}")
    guard.start(f"the branch {revision} of {guard.repo}")
    guard.revision = revision
    try:
        found, _ = listing.ask(
            guard, f"{guard.endpoint}/api/models/{guard.repo}/revision/{quote(revision, safe='')}"
        )
    except _AbsentError:
        return "", False
    commit = found.get("sha") if isinstance(found, dict) else None
    if not isinstance(commit, str) or not layout.COMMIT.fullmatch(commit):
        raise HubError(
            f"the Hub calls the commit of {guard.repo} {guard.shown(str(commit))!r}, not 40 hex digits"
        )
    return commit, found.get("private") is True


def patiently(guard: Guard, ask: Callable[[], T]) -> T:
    """As the guard's, for a client that wraps what goes wrong with a large file into another error, and that reads
    the JSON of an answer before it looks at its status.
    """

    def unwrapped() -> T:
        while True:
            before = guard.failures
            try:
                return ask()
            except RuntimeError as error:
                if isinstance(error.__cause__, Exception):
                    raise error.__cause__ from None
                raise
            except ValueError:
                if guard.failures == before:  # else the guard has waited, and counts how often
                    raise

    from zoo.weights import guard as guarded

    return guarded.patiently(guard, unwrapped)
