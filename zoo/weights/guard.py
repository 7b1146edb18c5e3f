"""The guard around the Hub's own client: every answer is checked before the client acts on it.

It is a pair of hooks in the client's HTTP session, active only inside `guarding`, so other users of huggingface_hub
in the same process are left alone. Commits and etags that become paths must be plain hex and the pinned ones,
refusals are said as what they are, waiting is bounded, and the token goes to no other host.

Import it only when the network is really needed: it imports huggingface_hub.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from huggingface_hub.utils import _http

from zoo.errors import HubError, ZooError
from zoo.weights import answers, layout, records
from zoo.weights.partial import Partial

MOST_WAITING = 60.0
"""Seconds that this process may wait in an hour because the Hub asks for it."""

_HOUR = 3600.0
_MOST_FAILURES = 3  # of one request in a row, when the Hub does not say how long to wait
_MOST_WAITS = 10  # of one request in a row, when it does
_MOST_REQUESTS = 200  # for one file: a connection that is cut this often is no connection
_MOST_UNANSWERED = 6
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_NO_ANSWER = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
_ETAG = re.compile(r'(?:W/)?"?(?:[0-9a-f]{64}|[0-9a-f]{40})"?')
_XET = re.compile(r"[0-9a-fA-F]{64}")
_HUBS = (
    "https://huggingface.co",
    "https://hf.co",
)  # where the client itself sends the token, besides the endpoint

_sleep = time.sleep
_waits: list[tuple[float, float]] = []  # (when, seconds) of this process's waits
_CLIENT = threading.Lock()  # held while the client's own settings are changed

T = TypeVar("T")


@dataclass
class Guard:
    """What is being asked of the Hub, and how much patience is left.

    commit: the only one it may answer with; "" while a revision is being resolved. revision: as it was asked for.
    what: the file or revision that is being asked for, as errors name it. notice: called with one line when there is
    something to wait for. explain: what a refusal of the Hub means when more than reading was asked, from its answer
    and its words; None where it means the usual. silence: seconds without a byte after which a request has failed
    to which the client gives all the time in the world; None leaves it so.
    """

    repo: str
    endpoint: str
    commit: str = ""
    revision: str = ""
    what: str = ""
    notice: Callable[[str], object] = str
    explain: Callable[[httpx2.Response, str], HubError | None] | None = None
    silence: float | None = None
    partial: Partial | None = None
    failures: int = 0
    unanswered: int = 0
    requests: int = 0
    secrets: set[str] = field(default_factory=set)

    def start(self, what: str, partial: Partial | None = None) -> None:
        """Go on to another file or question: its failures are counted anew."""
        self.what, self.partial = what, partial
        self.failures = self.unanswered = self.requests = 0

    def is_hub(self, url: httpx2.URL) -> bool:
        return any(url.origin == httpx2.URL(hub).origin for hub in (self.endpoint, *_HUBS))

    def shown(self, text: str) -> str:
        return answers.shown(text, self.secrets)


_ACTIVE: ContextVar[Guard | None] = ContextVar("zoo_guard", default=None)


@contextmanager
def guarding(guard: Guard) -> Iterator[Guard]:
    """Let the Hub's client work under this guard."""
    _hook_sessions()
    token = _ACTIVE.set(guard)
    try:
        with _plain_http:
            yield guard
    finally:
        _ACTIVE.reset(token)


def _hook_sessions() -> None:
    """Let the client's sessions have the hooks, unless they have them; a new factory closes the open session."""
    with _CLIENT:
        known: Callable[[], httpx2.Client] = _installed[-1] if _installed else _http.default_client_factory
        before = getattr(_http, "_GLOBAL_CLIENT_FACTORY", known)
        if not isinstance(before, _Factory):
            _installed[:] = [_Factory(before)]
            set_client_factory(_installed[-1])


class _PlainHttp:
    """While any thread is in it, the client downloads over HTTP, and not with hf_xet: that goes round the guard.

    The client reads the variable HF_HUB_DISABLE_XET when it is imported, which others may have done before.
    """

    def __init__(self) -> None:
        self._inside, self._before = 0, False

    def __enter__(self) -> None:
        with _CLIENT:
            if not self._inside:
                self._before, constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_XET, True
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with _CLIENT:
            self._inside -= 1
            if not self._inside:
                constants.HF_HUB_DISABLE_XET = self._before


_plain_http = _PlainHttp()


@dataclass(frozen=True)
class _Factory:
    """Makes the sessions of whatever factory was there before, with the hooks added."""

    before: Callable[[], httpx2.Client]

    def __call__(self) -> httpx2.Client:
        session = self.before()
        hooks = session.event_hooks
        if _check not in hooks["response"]:  # a factory of another's may call this one
            session.event_hooks = {
                "request": [*hooks["request"], _prepare],
                "response": [_check, *hooks["response"]],
            }
        return session


_installed: list[_Factory] = []  # at most one: what the client was given last


def _prepare(request: httpx2.Request) -> None:
    guard = _ACTIVE.get()
    if guard is None:
        return
    guard.requests += 1
    guard.unanswered += 1
    if guard.requests > _MOST_REQUESTS or guard.unanswered > _MOST_UNANSWERED:
        raise HubError(
            f"gave up on {guard.what} after {guard.requests - 1} requests: the connection does not hold",
            hint=answers.OFFLINE,
        )
    secret = request.headers.get("Authorization", "").rpartition(" ")[2]
    if secret:
        guard.secrets.add(secret)
        if not guard.is_hub(request.url):
            del request.headers["Authorization"]
    if guard.silence is not None and not any(request.extensions.get("timeout", {}).values()):
        request.extensions["timeout"] = dict.fromkeys(("connect", "read", "write", "pool"), guard.silence)
    if guard.partial:
        guard.partial.ask(request)


def _check(response: httpx2.Response) -> None:
    guard = _ACTIVE.get()
    if guard is None:
        return
    guard.unanswered = 0
    response.headers.pop("X-HF-Warning", None)  # the client would log the server's text as it came
    if response.status_code in _TRANSIENT:
        _wait(guard, response)
    elif response.status_code >= 400:
        raise _refusal(guard, response)
    else:
        _check_paths(guard, response)
        if guard.partial:
            guard.partial.join(response)


def _check_paths(guard: Guard, response: httpx2.Response) -> None:
    """Raise HubError for headers that would become paths and are not what they must be."""
    headers = response.headers
    commit = headers.get("X-Repo-Commit")
    if commit is None or not guard.is_hub(response.request.url):
        return  # the client takes no path from such an answer
    if not layout.COMMIT.fullmatch(commit):
        raise HubError(
            f"refused {guard.what}: the Hub calls its commit {guard.shown(commit)!r}, not 40 hex digits"
        )
    if guard.commit and commit != guard.commit:
        raise HubError(
            f"refused {guard.what}: {guard.commit} is pinned, but the Hub answered for commit {commit}"
        )
    linked = headers.get("X-Linked-Etag")
    if response.has_redirect_location and not linked:
        headers.pop("ETag", None)  # it is the redirect's own, of any form, and no name for the file
    etag = linked or headers.get("ETag")
    if response.request.method == "HEAD" and etag is not None and not _ETAG.fullmatch(etag):
        raise HubError(f"refused {guard.what}: its ETag is {guard.shown(etag)!r}, not 40 or 64 hex digits")
    xet = headers.get("X-Xet-Hash")
    if xet is not None and not _XET.fullmatch(xet):
        raise HubError(f"refused {guard.what}: its Xet hash is {guard.shown(xet)!r}, not 64 hex digits")


def _refusal(guard: Guard, response: httpx2.Response) -> HubError:
    if not guard.is_hub(response.request.url):
        host = response.request.url.host
        return HubError(f"{guard.shown(host)} answered {response.status_code} for {guard.what}")
    # only headers are read: an error's body may be endless, and the Hub says the same in X-Error-Message
    said = guard.shown(response.headers.get("X-Error-Message", ""))
    if guard.explain and (meant := guard.explain(response, said)):
        return meant
    return answers.refusal(
        response, repo=guard.repo, revision=guard.revision or guard.commit, what=guard.what, said=said
    )


def _wait(guard: Guard, response: httpx2.Response) -> None:
    """After an answer that may be another one later: wait here, within bounds, so that the client need not."""
    status, asked = response.status_code, answers.retry_after(response.headers)
    who = "the Hub" if guard.is_hub(response.request.url) else guard.shown(response.request.url.host)
    guard.failures += 1
    waited_before = sum(seconds for when, seconds in _waits if when > time.monotonic() - _HOUR)
    if asked is not None and waited_before + asked + 1 > MOST_WAITING:
        waited = f" after {waited_before:.0f} s of waiting" if waited_before else ""
        raise HubError(
            f"{who} answered {status}{waited} and asks to wait {asked:.0f} s; "
            f"the zoo waits at most {MOST_WAITING:.0f} s in all",
            hint="try again later",
        )
    if guard.failures >= (_MOST_FAILURES if asked is None else _MOST_WAITS):
        said = guard.shown(response.headers.get("X-Error-Message", ""))
        raise HubError(
            f"{who} answered {status} to {guard.failures} requests in a row for {guard.what}{said and f': {said}'}",
            hint="try again later",
        )
    if asked is not None:
        guard.notice(f"{who} asks to wait {asked:.0f} s")
        _waits.append((time.monotonic(), asked + 1))
    _sleep(0.5 * guard.failures if asked is None else asked)
    response.headers.pop("RateLimit", None)
    response.headers["Retry-After"] = "0"  # where the client waits as well, it adds one second to this


def patiently(guard: Guard, ask: Callable[[], T]) -> T:
    """What `ask` returns, asked again after failures that may pass.

    Raises HubError, or what the disk's errors mean.
    """
    while True:
        try:
            return ask()
        except ZooError:
            raise
        except HfHubHTTPError as error:
            if error.response.status_code not in _TRANSIENT:  # after those `_wait` waited, and it counts them
                raise _refusal(guard, error.response) from error
        except _NO_ANSWER as error:
            _count_silence(guard, error)
        except LocalEntryNotFoundError as error:  # what hf_hub_download makes of a failed HEAD request
            if not isinstance(error.__cause__, _NO_ANSWER):
                raise HubError(f"could not get {guard.what}: {guard.shown(str(error))}") from error
            _count_silence(guard, error.__cause__)
        except Exception as error:  # a hostile answer may surface as anything in the client
            if isinstance(error, OSError) and error.errno is not None:
                raise records.storage_error(error) from error
            raise HubError(f"could not get {guard.what}: {guard.shown(str(error))}") from error


def _count_silence(guard: Guard, error: Exception) -> None:
    guard.failures += 1
    if guard.failures >= _MOST_FAILURES:
        raise answers.silence(error, what=guard.what) from error
    _sleep(0.5 * guard.failures)
