"""The world of `homeostat.testing.world` on real adapters: SQLite, Git, a checkout and snapshots in a folder.

The program and the sandbox stay fakes, the flows run when the test says so, and a hub's life is one
`open` and one `close`: what the next one finds is what is on the disk.
"""

from dataclasses import replace

from empty_database import put_empty_database

from homeostat.adapters.backups import FolderBackupStore
from homeostat.adapters.git.candidate import GitCandidateBranch
from homeostat.adapters.git.deployed import GitDeployedTree
from homeostat.adapters.git.merging import GitCommitMerger
from homeostat.adapters.git.reader import GitCommitReader
from homeostat.adapters.git.records import GitRecordBranch
from homeostat.adapters.git.repository import open_repository
from homeostat.adapters.keys import load_or_create_keys
from homeostat.adapters.store.store import SqlStore
from homeostat.adapters.story import check_story
from homeostat.audit.credentials import credential_made
from homeostat.core.digests import digest_bytes
from homeostat.flows.applying import request_apply
from homeostat.flows.proposing import Submission, submit
from homeostat.flows.reverting import request_revert
from homeostat.testing.git_repository import UserRepository
from homeostat.testing.world import BOT, DIFF, OWNER, PROCESS, SOURCE, World


class RealWorld(World):
    """A program's repository, its state directory, and one hub after the other."""

    def __init__(self, root):
        super().__init__()
        self.root = root / "shop"
        self.state_dir = self.root / ".homeostat"
        self.user = UserRepository(self.root)
        self.prover.tree_of = lambda commit: self.user.git("rev-parse", f"{commit}^{{tree}}").decode().strip()
        base = self.user.commit({"shop.py": SOURCE.encode(), "other.py": b"x = 1\n"})
        self.live.attach(self.process(commit=base), loaded={"shop.py": SOURCE})
        self.real_store = None
        load_or_create_keys(self.state_dir)
        put_empty_database(self.state_dir / "homeostat.sqlite")
        self.open()
        token = digest_bytes(load_or_create_keys(self.state_dir).owner_token.encode("ascii"))
        self.real_store.ledger.append(credential_made(OWNER.id, OWNER.role, token))
        self.real_store.actors.create(actor=OWNER, token_digest=token)

    def open(self, **options):
        """Let a hub begin; `options` are those of `SqlStore.open`."""
        keys = load_or_create_keys(self.state_dir)
        git = open_repository(self.root)
        store = SqlStore.open(
            self.state_dir / "homeostat.sqlite",
            signer=keys.signer,
            clock=self.clock,
            head_path=self.state_dir / "ledger-head.json",
            **options,
        )
        self.real_store = store
        self.deps = replace(
            self.deps,
            repository_path=str(self.root),
            proposals=store.proposals,
            records=store.records,
            ledger=store.ledger,
            findings=store.findings,
            vitals=store.vitals,
            canaries=store.canaries,
            actors=store.actors,
            commits=GitCommitReader(git, deployed_branch="main"),
            merger=GitCommitMerger(git),
            candidates=GitCandidateBranch(git),
            record_branch=GitRecordBranch(git),
            deployed=GitDeployedTree(git, deployed_branch="main"),
            backups=FolderBackupStore(self.state_dir / "backups"),
        )

    def close(self):
        self.starter.queue.clear()
        self.real_store.close()

    def reopen(self):
        """Let the next hub begin on what the last one left, and take up what it finds."""
        self.close()
        self.open()
        self.restart()

    def propose(self, title="Mend", diff=DIFF):
        proposal = submit(self.deps, Submission(title=title, rationale="why", diff=diff), actor=BOT)
        self.run()
        return proposal.id

    def apply(self, identity):
        request_apply(self.deps, identity, actor=OWNER, seen=None)
        self.run()

    def revert(self, identity):
        request_revert(self.deps, identity, actor=OWNER, reason="asked")
        self.run()

    def row(self, identity):
        return self.deps.proposals.get(identity)

    def disk(self):
        return (self.root / "shop.py").read_text()

    def runs(self):
        return self.live.source(PROCESS, "shop.py")

    def unverified(self):
        """Return what `homeostat verify` finds wrong."""
        return [check for check in check_story(self.root, self.state_dir) if not check.ok]
