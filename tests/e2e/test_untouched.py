"""Proposing, proving, rejecting and being refused never touch the user's work tree, index, branches or files."""

import stat
from pathlib import Path

from e2e.support.processes import wait_for
from e2e.support.shop import BREAK, HARM, MEND, MEND_OTHERWISE, replacing
from e2e.support.terminal import PROPOSALS

OWN = "refs/heads/homeostat/"


def seen(shop):
    """Return all that the user could notice: files with bytes, modes, times and identity, index, refs, status."""
    files = {}
    for path in sorted(shop.root.rglob("*")):
        parts = path.relative_to(shop.root).parts
        if parts[0] in (".git", ".homeostat"):
            continue
        info = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        files["/".join(parts)] = (content, stat.S_IMODE(info.st_mode), info.st_mtime_ns, info.st_ino)
    git = shop.root / ".git"
    refs = shop.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return {
        "files": files,
        "index": ((git / "index").read_bytes(), (git / "index").stat().st_mtime_ns),
        "HEAD": (git / "HEAD").read_bytes(),
        "config": (git / "config").read_bytes(),
        "refs": [ref for ref in refs if not ref.startswith(OWN)],
        "stashes": shop.git("stash", "list"),
        "status": shop.git("status", "--porcelain=v2", "--untracked-files=all"),
        "staged": shop.git("diff", "--cached"),
    }


def dirty(shop):
    """Leave the work half done, as people do."""
    path = shop.root / "shop" / "prices.py"
    path.write_text(path.read_text() + "\n# I am not done with this\n")
    shop.write("shop/staged.py", "STAGED = True\n")
    shop.git("add", "shop/staged.py")
    shop.write("notes.txt", "untracked\n")
    (shop.root / "shop" / "staged.py").write_text("STAGED = 'and changed again'\n")
    shop.git("branch", "topic")


def test_proposing_proving_and_rejecting_leave_everything_as_the_user_has_it(shop, terminal):
    hub = terminal.up()
    good, harmful = shop.diff(MEND), terminal.scratch / "by-hand.patch"
    harmful.write_text(shop.diff(HARM))
    dirty(shop)
    before = seen(shop)
    assert " M " not in before["status"] and "1 .M" in before["status"] and "1 AM" in before["status"]

    # A person by the command line, a bot by HTTP; one passes, one is blocked by the tests.
    told = terminal.ok("propose", "--diff", str(harmful), "--title", "By hand", "--rationale", "A test.", "--json").json
    assert told["state"] == "awaiting_approval", told["state_reason"]
    assert seen(shop) == before
    token = terminal.ok("token", "--agent", "fixer").out.strip()
    with terminal.client(hub.url, token) as bot:
        body = {"title": "By a bot", "rationale": "A test.", "diff": good}
        identity = bot.post(PROPOSALS, json=body).json()["proposal_id"]
    assert terminal.wait_for_state(hub, identity, "awaiting_approval", "blocked")["state"] == "awaiting_approval"
    assert seen(shop) == before
    broken = terminal.propose(BREAK, "Break the sums")
    assert broken["state"] == "blocked" and broken["proof"]["broken_tests"], broken["state_reason"]
    # The branch of a blocked proposal goes with the record of it, right after its state.
    wait_for(lambda: shop.candidates() == {told["proposal_id"], identity}, what="its branch to be gone")
    assert seen(shop) == before

    # Decisions that change no code.
    terminal.ok("proposals", "defer", identity, "--reason", "later")
    terminal.ok("proposals", "resume", identity)
    terminal.wait_for_state(hub, identity, "awaiting_approval")
    terminal.ok("proposals", "reject", told["proposal_id"], "--reason", "no")
    assert seen(shop) == before

    # A file that the user is at is not written over: refused, and the proposal stays as it was.
    refused = terminal.type("proposals", "apply", identity)
    assert refused.code == 1 and "shop/prices.py is modified" in refused.err + refused.out
    assert terminal.proposal(hub, identity)["state"] == "awaiting_approval"
    assert seen(shop) == before
    wait_for(lambda: shop.candidates() == {identity}, what="its branch to be gone")
    assert hub.stop() == 0
    assert seen(shop) == before
    terminal.ok("verify")


def test_applying_leaves_everything_but_the_named_files_as_the_user_has_it(shop, terminal):
    hub = terminal.up()
    identity = terminal.propose(MEND_OTHERWISE, "Overlook unknown coupons")["proposal_id"]
    shop.write("README.md", "Half-written.\n")
    shop.write("shop/staged.py", "STAGED = True\n")
    shop.git("add", "shop/staged.py")
    shop.write("notes.txt", "untracked\n")
    before = seen(shop)
    terminal.ok("proposals", "apply", identity)
    assert terminal.wait_for_state(hub, identity, "awaiting_restart")
    after = seen(shop)
    assert {path for path in after["files"] if after["files"][path] != before["files"].get(path)} <= {
        "shop/prices.py",
        "shop",  # the folder's own time
    }
    assert after["status"] == before["status"] and after["staged"] == before["staged"]
    assert (after["HEAD"], after["config"], after["stashes"]) == (before["HEAD"], before["config"], before["stashes"])
    terminal.ok("revert", identity)
    assert {path: found[:2] for path, found in seen(shop)["files"].items()} == {
        path: found[:2] for path, found in before["files"].items()
    }
    assert seen(shop)["status"] == before["status"] and seen(shop)["staged"] == before["staged"]


def test_a_patch_with_a_secret_is_refused_and_nothing_of_it_is_kept(shop, terminal):
    hub = terminal.up()
    secret = "AKIA" + "QWERTZUIOPASDFGH"
    patch = terminal.scratch / "secret.patch"
    patch.write_text(shop.diff(replacing("shop/prices.py", "COUPONS = {", f'KEY = "{secret}"\nCOUPONS = {{')))
    refused = terminal.type("propose", "--diff", str(patch), "--title", "Add a key", "--rationale", "A test.")
    assert refused.code != 0 and "shop/prices.py" in refused.err, refused
    assert hub.stop() == 0
    assert terminal.ok("verify")
    for folder in (shop.state_dir, shop.root / ".git"):
        for path in folder.rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
    listed = shop.git("log", "--all", "-p")
    assert secret not in listed


def test_a_link_or_a_path_outside_is_refused_by_name(shop, terminal):
    terminal.up()
    outside = terminal.scratch / "outside.patch"
    outside.write_text("--- /dev/null\n+++ b/../outside.txt\n@@ -0,0 +1 @@\n+x\n")

    def link(root: Path) -> None:
        (root / "shop" / "link").symlink_to("/etc/passwd")

    linked = terminal.scratch / "link.patch"
    linked.write_text(shop.diff(link))
    for patch in (outside, linked):
        refused = terminal.type("propose", "--diff", str(patch), "--title", "No", "--rationale", "A test.")
        assert refused.code == 2 and "error[" in refused.err, refused
    assert not (shop.root.parent / "outside.txt").exists()
