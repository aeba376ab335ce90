"""Putting a state directory back from an archive.

Everything is made ready beside the present state directory, and checked there, before anything is moved:

1. The archive is whole, and signed by the key that the present state directory has, if it has one.
2. Its files are written into a folder of their own.
3. What Git or the present ledger knows beyond the kept ledger is lost with it: nothing happens unless
   whoever restores names the number of those entries.
4. Where Git has lost the branch of the records it is made again; it is removed if the rest does not come about.
   The restoration is written into the kept ledger, and its rows are settled by what Git shows.
5. `homeostat verify` holds on the result.
6. The present state directory is renamed, never deleted, and the new one takes its place.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from homeostat.adapters.archive.container import BUNDLE, SETTINGS, STATE, Archive, Manifest, opened
from homeostat.adapters.clock import SystemClock
from homeostat.adapters.folders import sync_folder
from homeostat.adapters.git.bundle import drop_records, unbundle_records
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import OWN_PREFIX, GitRepository
from homeostat.adapters.keys import PUBLIC_KEY, Keys, ensure_state_dir, load_or_create_keys, verifier_from_pem
from homeostat.adapters.policies import FOLDER, added_files
from homeostat.adapters.settings import FILE_NAME
from homeostat.adapters.state_lock import hold_state
from homeostat.adapters.store.head_file import HeadFile
from homeostat.adapters.store.store import SqlStore
from homeostat.audit.head import TRAILER_KEY, is_signed, parse_trailer
from homeostat.audit.restoration import Restoration
from homeostat.core.errors import Conflict, HomeostatError, IntegrityFailure, NotFound, OutcomeUnknown, Unavailable
from homeostat.core.ids import CommitId

_NAMED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LostStatus:
    """A status commit in Git that witnesses entries which the archive does not have."""

    commit: CommitId
    seen: int
    proposal: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What is known beyond the kept ledger."""

    restoration: Restoration
    statuses: Sequence[LostStatus]
    """Newest first."""

    def moved_since(self) -> Mapping[str, str]:
        """Return the proposals that Git recorded after the backup, each with its newest status."""
        return {item.proposal: item.status for item in reversed(self.statuses)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """A state directory that is ready to take its place, open for the last entries."""

    folder: Path
    manifest: Manifest
    loss: Loss
    store: SqlStore
    keys: Keys


class Restoring:
    """One restoration. Use within `with`: what was not put in place is removed again."""

    def __init__(
        self, *, repository: GitRepository, state_dir: Path, file: Path, at: datetime, tell: Callable[[str], None]
    ) -> None:
        self._repository = repository
        self._state_dir = state_dir
        self._file = file
        self._stamp = at.strftime("%Y%m%dT%H%M%SZ")
        self._tell = tell
        self._undo = ExitStack()
        self._unless_placed = ExitStack()

    def __enter__(self) -> "Restoring":
        return self

    def __exit__(self, *_: object) -> None:
        with self._undo:
            self._unless_placed.close()

    def stage(self, *, accept_lost: int) -> Staged:
        """Do steps 1 to 3; nothing is moved yet.

        `Conflict` (``hub-running``, ``restore-loses-entries``); `IntegrityFailure` for an archive that does not hold.
        """
        if self._state_dir.exists():
            self._undo.callback(hold_state(ensure_state_dir(self._state_dir)))
        folder = self._state_dir.with_name(f"{self._state_dir.name}.restoring-{self._stamp}")
        try:
            ensure_state_dir(folder)
            self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
            with opened(self._file, verify=self._present_key()) as archive:
                self._unpack(archive, folder)
                manifest = archive.manifest
        except OSError as error:
            raise Unavailable(
                "restore-not-written",
                f"{error.filename or folder} could not be written: {error.strerror or error}",
                hint="nothing was changed; make room beside the state directory, then try again",
            ) from error
        keys = load_or_create_keys(folder)
        loss = self._loss(manifest, keys)
        if loss.restoration.lost != accept_lost:
            raise _loses(manifest, loss, accept_lost)
        store = SqlStore.open(
            folder / "homeostat.sqlite",
            signer=keys.signer,
            clock=SystemClock(),
            head_path=folder / "ledger-head.json",
        )
        self._undo.callback(store.close)
        return Staged(folder=folder, manifest=manifest, loss=loss, store=store, keys=keys)

    def put_in_place(self, staged: Staged) -> Path | None:
        """Do step 6; return where the state directory is now that was there before, None when there was none.

        `Unavailable` while everything is as it was; `OutcomeUnknown` from where that is not certain any more.
        """
        staged.store.close()
        aside = self._state_dir.with_name(f"{self._state_dir.name}.before-restore-{self._stamp}")
        there = self._state_dir.exists()
        try:
            if there:
                self._state_dir.rename(aside)
            try:
                staged.folder.rename(self._state_dir)
            except OSError:
                if there:
                    self._rename_back(aside)
                raise
        except OSError as error:
            raise Unavailable(
                "restore-not-written",
                f"{self._state_dir} could not be exchanged: {error.strerror}",
                hint="it is as it was; mend the cause, then try again",
            ) from error
        self._unless_placed.pop_all()
        try:
            sync_folder(self._state_dir.parent)
        except OSError as error:
            before = f"; what was there before is in {aside}" if there else ""
            raise OutcomeUnknown(
                "restore-not-synced",
                f"the restored state is in {self._state_dir}{before}, but the disk does not say that it keeps it "
                f"so ({error.strerror})",
                hint="mend the disk, look which of the two is in its place, and run `homeostat verify`",
            ) from error
        return aside if there else None

    def _rename_back(self, aside: Path) -> None:
        try:
            aside.rename(self._state_dir)
        except OSError as error:
            raise OutcomeUnknown(
                "restore-not-synced",
                f"neither the restored state nor the one before could be put in {self._state_dir} ({error.strerror}); "
                f"what was there before is in {aside}",
                hint=f"mend the disk, then: mv {aside} {self._state_dir}",
            ) from error

    def restore_records(self, staged: Staged) -> bool:
        """Make the branch of the records again where it is gone; True when it was.

        It is removed again unless `put_in_place` follows.
        """
        bundle = staged.folder / BUNDLE
        if not bundle.exists():
            return False
        gone = self._repository.branch_head(f"{OWN_PREFIX}proposals") is None
        if gone:
            self._tell("the branch of the records is gone from Git: it is made again")
            head = unbundle_records(self._repository, bundle)
            self._unless_placed.callback(drop_records, self._repository, head)
        bundle.unlink()
        return gone

    def _present_key(self) -> Callable[[bytes, str], bool] | None:
        """Return the key that must have signed the archive: that of a ledger which has entries, else any."""
        public = self._state_dir / "keys" / PUBLIC_KEY
        with suppress(HomeostatError):  # what is damaged, or gone, is a reason to restore, not to refuse it
            verify = verifier_from_pem(public).verify
            return verify if self._present_size(verify) else None
        return None

    def _unpack(self, archive: Archive, folder: Path) -> None:
        names = [item.path for item in archive.manifest.files]
        self._tell(f"{len(names)} files, kept at {archive.manifest.made_at}")
        for path in names:
            if path.startswith(STATE):
                archive.extract(path, folder / path.removeprefix(STATE))
        for path in (SETTINGS, BUNDLE):
            if archive.has(path):
                archive.extract(path, folder / path)
        if not archive.manifest.with_keys:
            self._bring_keys(folder)
        archive.check_signature(verifier_from_pem(folder / "keys" / PUBLIC_KEY).verify)
        self._policies(folder / FOLDER)
        self._settings(folder / SETTINGS)

    def _policies(self, kept: Path) -> None:
        """Leave the added policies as they are where there is a folder: an older state opens nothing closed since."""
        if not (self._state_dir / FOLDER).exists():
            return
        present = added_files(self._state_dir / FOLDER)
        self._tell(f"{self._state_dir / FOLDER} was left as it is")
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(mode=0o700)
        for path in present:
            shutil.copy2(path, kept / path.name, follow_symlinks=False)

    def _bring_keys(self, folder: Path) -> None:
        source = self._state_dir / "keys"
        if not (source / PUBLIC_KEY).exists():
            raise NotFound(
                "keys-not-kept",
                f"{self._file} was made without keys, and there are none in {source}",
                hint="put the keys folder there first, or take a backup that has keys",
            )
        for file in source.iterdir():
            if file.name != PUBLIC_KEY and not file.name.startswith("."):
                shutil.copyfile(file, folder / "keys" / file.name)
                (folder / "keys" / file.name).chmod(0o600)

    def _settings(self, kept: Path) -> None:
        present = self._repository.root / FILE_NAME
        if not kept.exists():
            return
        if present.exists() and present.read_bytes() == kept.read_bytes():
            kept.unlink()
        else:
            self._tell(f"{present} was left as it is; the kept one will be {self._state_dir / SETTINGS}")

    def _loss(self, manifest: Manifest, keys: Keys) -> Loss:
        kept = manifest.ledger_size
        records = GitRecordBranch(self._repository)
        trailers = records.trailers(TRAILER_KEY)
        words = {key: dict(records.trailers(key)) for key in ("Homeostat-Proposal", "Homeostat-Status")}
        seen = [(commit, head.size) for commit, value in trailers if (head := parse_trailer(value)) is not None]
        statuses = [
            LostStatus(
                commit=commit,
                seen=size,
                proposal=words["Homeostat-Proposal"].get(commit, ""),
                status=words["Homeostat-Status"].get(commit, ""),
            )
            for commit, size in seen
            if size > kept
        ]
        lost_to = max([kept, self._present_size(keys.signer.verify), *(size for _, size in seen)])
        tip = trailers[0][0] if trailers else None
        return Loss(restoration=Restoration(kept=kept, lost_to=lost_to, tip=tip), statuses=statuses)

    def _present_size(self, verify: Callable[[bytes, str], bool]) -> int:
        try:
            head = HeadFile(self._state_dir / "ledger-head.json").read()
        except HomeostatError:
            return 0
        return head.size if head is not None and is_signed(head, verify) else 0


def _loses(manifest: Manifest, loss: Loss, accepted: int) -> HomeostatError:
    lost = loss.restoration.lost
    if not lost:
        return Conflict(
            "restore-loses-entries",
            f"nothing would be lost: this backup has all {manifest.ledger_size} known entries, not {accepted} fewer",
            hint="leave out --accept-lost",
        )
    lacks = f"entries {manifest.ledger_size + 1} to {loss.restoration.lost_to} of the ledger"
    named = [f"{item.proposal} {item.status} (commit {item.commit[:12]})" for item in loss.statuses[:_NAMED]]
    more = f" and {len(loss.statuses) - _NAMED} more" if len(loss.statuses) > _NAMED else ""
    what = f"; Git recorded after it: {', '.join(named)}{more}" if named else ""
    return Conflict(
        "restore-loses-entries",
        f"{lacks} are not in this backup of {manifest.made_at}{what}",
        hint=f"take a newer backup; or, to give them up for good, add: --accept-lost {lost}",
        facts={"lost": lost, "kept": manifest.ledger_size},
    )


def refuse_unverified(failed: Sequence[str]) -> HomeostatError:
    """Say that the staged state does not hold together; it was not put in place."""
    return IntegrityFailure(
        "restore-not-verified",
        f"what would be restored does not hold: {'; '.join(failed[:3])}",
        hint="nothing was changed; take another backup file, and keep everything as it is",
    )
