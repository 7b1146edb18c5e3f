"""What the Hub's answers and silences mean to a person: HTTP statuses, headers and network errors as HubErrors."""

from __future__ import annotations

import re
import time

import httpx2

from zoo.errors import HubError
from zoo.text_safety import safe_text

LOG_IN = "log in: `hf auth login`, or set HF_TOKEN"
OFFLINE = "check the network; what is in the cache works with --offline"

_MOST_SHOWN = 200  # characters of a server's message
_TOKEN = re.compile(r"\bhf_\w+|(?<=[Bb]earer )\S+")
_SPENT = re.compile(r'"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,9})')


def shown(text: str, secrets: frozenset[str] | set[str] = frozenset()) -> str:
    """Text from outside as one short line, without control characters and tokens."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _TOKEN.sub("***", safe_text(text)).strip()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


def origin(url: httpx2.URL) -> str:
    """Scheme, host and port, without a user name or password."""
    return f"{url.scheme}://{url.netloc.decode()}"


def retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds the server asks to wait, or None: as a number, as a date, or as the time its rate limit lasts."""
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", said):
        return float(said)
    if limit := _SPENT.search(headers.get("RateLimit", "")):
        return float(limit[1])
    if not said:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def refusal(response: httpx2.Response, *, repo: str, revision: str, what: str, said: str) -> HubError:
    """What an answer of the Hub from 400 on means. said: the server's own message, already harmless."""
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    page = f"{origin(response.request.url)}/{repo}"
    because = said and f": {said}"
    if code == "GatedRepo":
        return HubError(
            f"the Hub answered {status}: {repo} is gated, its authors ask you to accept their terms",
            hint=f"accept the terms at {page}, then {LOG_IN}",
        )
    if status == 401:
        return HubError(
            f"the Hub answered 401: {repo} is private or does not exist, or the token is not valid{because}",
            hint=LOG_IN,
        )
    if status == 403:
        return HubError(
            f"the Hub answered 403: this account or token may not read {repo}{because}",
            hint=f"look at {page}; {LOG_IN}",
        )
    if status == 404 and code == "RepoNotFound":
        return HubError(
            f"the Hub answered 404: there is no repo {repo}, or it is private",
            hint=f"check its name; for a private repo, {LOG_IN}",
        )
    if status == 404 and code == "RevisionNotFound":
        return HubError(f"the Hub answered 404: {repo} has no revision {revision}")
    if status == 404:
        return HubError(f"the Hub answered 404: there is no {what}{because}")
    return HubError(f"the Hub answered {status} for {what}{because}")


def silence(error: Exception, *, what: str) -> HubError:
    """What it means that no answer came, or only a part of one."""
    try:
        host = safe_text(error.request.url.netloc.decode())  # type: ignore[attr-defined]
    except (AttributeError, RuntimeError):
        host = "the Hub"
    if isinstance(error, httpx2.TimeoutException):
        return HubError(f"{host} did not answer in time for {what}", hint=OFFLINE)
    if not isinstance(error, httpx2.ConnectError):
        return HubError(f"the connection to {host} was cut while {what} was asked for", hint=OFFLINE)
    reason: BaseException = error
    while (cause := reason.__cause__ or reason.__context__) is not None:
        reason = cause
    said = shown(getattr(reason, "strerror", None) or str(reason)).lower()
    return HubError(f"cannot reach {host} for {what}: {said}", hint=OFFLINE)
