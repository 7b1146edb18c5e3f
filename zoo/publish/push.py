"""A bundle sent to the Hub in one commit. What is there is looked at first, and a failure leaves it as it was.

Large files are stored beside the repo before the commit names them; a commit is made of all files or not at all, and
only on top of what was looked at.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import zoo
from zoo.errors import HubError, UsageError, WeightsError
from zoo.publish import remote
from zoo.publish.bundle import Bundle, check_repo, prepare
from zoo.registry.entry import Licences
from zoo.weights import hub, layout, network
from zoo.weights.progress import Progress, Report

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    from zoo.weights.guard import Guard

_KEPT = frozenset({".gitattributes"})
"""Files of a repo that the Hub made, which a push leaves alone."""
_SHOWN = 5  # names in a message


@dataclass(frozen=True)
class Changes:
    """What a push would find. head: the commit it is made on, "" when there is no such repo.

    added: files that the repo does not have yet. replaced: those that get other bytes. removed: those that the pushed
    model does not have. private: whether the repo is.
    """

    head: str
    added: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    private: bool = False

    def __str__(self) -> str:
        said = [
            f"{word} {_some(names)}"
            for word, names in (("replaces", self.replaced), ("removes", self.removed))
            if names
        ]
        return " and ".join(said) or "replaces nothing"


@dataclass(frozen=True)
class Pushed:
    """A model on the Hub: `zoo.load(f"hf:{repo}@{commit}")`. registry: the text of its registry file, pinned.

    pull_request: its address, where one was asked for.
    """

    repo: str
    commit: str
    url: str
    files: tuple[str, ...]
    registry: str
    pull_request: str = ""


@dataclass(frozen=True)
class Asked:
    """How to push. private: a repo that is made for it is. revision: the branch. pull_request: instead of a commit on
    it. message: of the commit. replace: also where files of the repo are replaced or removed.
    """

    private: bool = False
    revision: str = "main"
    pull_request: bool = False
    message: str = ""
    replace: bool = False


def push(
    run: str | Path,
    repo: str,
    *,
    licences: Mapping[str, str] | Licences,
    private: bool = False,
    revision: str = "main",
    pull_request: bool = False,
    message: str = "",
    replace: bool = False,
    report: Report | None = None,
) -> Pushed:
    """Push a run folder, or a folder with a safetensors file of the zoo, to the Hub repo USER/NAME in one commit.

    licences: of weights, data and code, each an SPDX expression or "unknown"; none has a default. report: told of
    each file's bytes as they are sent. The rest as in `Asked`.
    Raises UsageError for a bad repo or licence, or where files would be replaced and `replace` is not set;
    WeightsError and its kinds for a folder that holds no sound model; HubError when the Hub refuses or fails: then
    nothing is changed.
    """
    check_repo(repo)
    remote.token()
    bundle = prepare(run, repo, licences)
    asked = Asked(private, revision, pull_request, message, replace)
    return send(bundle, changes(bundle, revision=revision), asked, report)


def changes(bundle: Bundle, *, revision: str = "main") -> Changes:
    """What the bundle meets in its repo. Makes requests and changes nothing. Raises HubError."""
    with remote.asking(bundle.repo) as (guard, _):
        head, private = remote.head(guard, revision)
    if not head:
        return Changes("", tuple(bundle.files))
    present = {file.name: file for file in hub.listing(bundle.repo, head).files}
    replaced = [
        name
        for name, content in bundle.files.items()
        if (there := present.get(name))
        and (there.bytes != content.size or there.sha256 not in ("", content.sha256))
    ]
    added = [name for name in bundle.files if name not in present]
    removed = sorted(present.keys() - bundle.files.keys() - _KEPT)
    return Changes(head, tuple(added), tuple(replaced), tuple(removed), private)


def check(bundle: Bundle, found: Changes, asked: Asked) -> None:
    """Raises UsageError when the push cannot be as it was asked for, but for what it replaces."""
    if not found.head and asked.revision != "main":
        raise UsageError(f"there is no repo {bundle.repo} yet, so it has no branch {asked.revision!r}")
    if found.head and asked.private and not found.private:
        raise UsageError(
            f"{bundle.repo} is there and is public, but a private one was asked for",
            hint="push to another name, or make it private on the Hub first",
        )


def send(bundle: Bundle, found: Changes, asked: Asked, report: Report | None = None) -> Pushed:
    """Make the repo if there is none, send the files, and commit them all at once on top of `found.head`.

    Raises UsageError as `check` does, and where files would be replaced without `asked.replace`; HubError: then the
    message says what became of the repo.
    """
    check(bundle, found, asked)
    if (found.replaced or found.removed) and not asked.replace and not asked.pull_request:
        raise UsageError(
            f"{bundle.repo} has other files already: this push {found}",
            hint="add --yes (in Python: replace=True) to do that; its history keeps them",
        )
    push = _Push(bundle, asked, found.head, report or (lambda _: None))
    with remote.asking(bundle.repo) as (guard, api), warnings.catch_warnings(), ExitStack() as streams:
        warnings.simplefilter("ignore")  # the client repeats the Hub's words about the card
        try:
            commit = push.run(guard, api, streams, found.removed)
        except HubError as error:
            commit = push.landed(guard, error)
            if not commit:
                raise HubError(f"{error}; {push.state}", hint=error.hint) from error
    return Pushed(
        bundle.repo,
        commit,
        f"{network.endpoint()}/{bundle.repo}/tree/{commit}",
        tuple(bundle.files),
        bundle.registry(commit),
        push.request,
    )


class _Push:
    """One push on its way. state: what became of the repo, for an error. request: the pull request's address."""

    def __init__(self, bundle: Bundle, asked: Asked, head: str, tell: Report) -> None:
        self.bundle, self.asked, self.head, self.tell = bundle, asked, head, tell
        self.state = f"nothing was changed in {bundle.repo}"
        self.request = ""
        self._committing = False

    def run(self, guard: Guard, api: HfApi, streams: ExitStack, removed: tuple[str, ...]) -> str:
        """The new commit. Raises HubError, WeightsError for a file that changed meanwhile."""
        from huggingface_hub import CommitOperationDelete

        guard.notice = lambda line: self.tell(Progress(self.bundle.repo, 0, None, line))
        if not self.head:
            self._create(guard, api)
        additions = [self._upload(guard, api, streams, name) for name in self.bundle.files]
        commit = self._commit(guard, api, [*additions, *map(CommitOperationDelete, removed)])
        if not self._holds(commit):
            self._committing, self.state = False, f"{self.bundle.repo} is at that commit now"
            raise HubError(f"the Hub made the commit {commit}, but does not hold all that was sent")
        return commit

    def _create(self, guard: Guard, api: HfApi) -> None:
        guard.start(f"the new repo {self.bundle.repo}")
        private = True if self.asked.private else None  # else what the account's settings say
        try:
            remote.patiently(guard, lambda: api.create_repo(self.bundle.repo, private=private))
        except HubError:
            if not self._is_empty(guard):  # made by the try before, whose answer was lost
                raise
        self.state = f"{self.bundle.repo} was made and is still empty"
        self.head, _ = remote.head(guard, self.asked.revision)

    def _is_empty(self, guard: Guard) -> bool:
        with contextlib.suppress(HubError):
            head, private = remote.head(guard, self.asked.revision)
            names = {file.name for file in hub.listing(self.bundle.repo, head).files} if head else {""}
            return names <= _KEPT and private >= self.asked.private
        return False

    def _upload(self, guard: Guard, api: HfApi, streams: ExitStack, name: str) -> CommitOperationAdd:
        """Store a file beside the repo, if it is a large one; the commit brings the small ones."""
        from huggingface_hub import CommitOperationAdd

        content, sending = self.bundle.files[name], False

        def report(at: int) -> None:
            if sending:
                guard.requests = 0  # a file sent in many parts goes forward
                self.tell(Progress(name, at, content.size))

        stream = streams.enter_context(content.open(report))
        addition = CommitOperationAdd(name, stream)
        if addition.upload_info.sha256.hex() != content.sha256:
            raise WeightsError(
                f"{name} was changed while it was being pushed; {self.state}",
                hint="push it again once it is done",
            )
        sending = True
        guard.start(f"the upload of {name}")
        remote.patiently(
            guard,
            lambda: api.preupload_lfs_files(
                self.bundle.repo,
                [addition],
                revision=self.asked.revision,
                create_pr=self.asked.pull_request,
                num_threads=1,
                free_memory=False,
            ),
        )
        return addition

    def _commit(
        self, guard: Guard, api: HfApi, operations: list[CommitOperationAdd | CommitOperationDelete]
    ) -> str:
        guard.start(f"the commit to {self.bundle.repo}")
        self._committing = True
        made = remote.patiently(
            guard,
            lambda: api.create_commit(
                self.bundle.repo,
                operations,
                commit_message=self.asked.message
                or f"Push {self.bundle.entry.name} with zoo {zoo.__version__}",
                revision=self.asked.revision,
                create_pr=self.asked.pull_request,
                parent_commit=self.head,
            ),
        )
        if not layout.COMMIT.fullmatch(made.oid):
            raise HubError(f"the Hub calls its new commit {guard.shown(str(made.oid))!r}, not 40 hex digits")
        if self.asked.pull_request and made.pr_num is not None:
            self.request = f"{network.endpoint()}/{self.bundle.repo}/discussions/{int(made.pr_num)}"
        return made.oid

    def landed(self, guard: Guard, error: HubError) -> str:
        """The commit that was made though its answer was lost; "" for none, and `state` says what is known."""
        if not self._committing:
            return ""
        self.state = "whether its commit was made is not known; to push again makes no second one"
        if self.asked.pull_request:
            if isinstance(error, remote.RefusedError):
                self.state = f"nothing was changed in {self.bundle.repo}"
                return ""
            self.state = "whether the pull request was made is not known; look at the repo's discussions"
            return ""
        with contextlib.suppress(HubError):
            head, _ = remote.head(guard, self.asked.revision)
            if head != self.head and self._holds(head):
                return head
            self.state = f"nothing of it is in {self.bundle.repo}"
        return ""

    def _holds(self, commit: str) -> bool:
        """Whether the Hub has all files of the bundle there."""
        held = {file.name: file for file in hub.listing(self.bundle.repo, commit).files}
        return all(
            name in held and held[name].bytes == content.size and held[name].sha256 in ("", content.sha256)
            for name, content in self.bundle.files.items()
        )


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
