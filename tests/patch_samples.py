"""Patches to begin with, and what reading one must come to."""

from homeostat.model.verdict import Denied
from homeostat.validation.patch import UnverifiedPatch, parse_patch

HUNK = b"@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
NAMES = b"--- a/x.txt\n+++ b/x.txt\n"
PLAIN = NAMES + HUNK
GIT = b"diff --git a/x.txt b/x.txt\nindex 1234567..89abcde 100644\n" + PLAIN
NEW = b"diff --git a/n.txt b/n.txt\nnew file mode 100644\nindex 0000000..814f4a4\n--- /dev/null\n+++ b/n.txt\n"
NEW_HUNK = b"@@ -0,0 +1,2 @@\n+one\n+two\n"
GONE = b"diff --git a/x.txt b/x.txt\ndeleted file mode 100644\nindex 814f4a4..0000000\n--- a/x.txt\n+++ /dev/null\n"
GONE_HUNK = b"@@ -1,2 +0,0 @@\n-one\n-two\n"
RENAME = b"diff --git a/x.txt b/y.txt\nsimilarity index 100%\nrename from x.txt\nrename to y.txt\n"


def plain(old, new, hunk=HUNK):
    return b"--- " + old + b"\n+++ " + new + b"\n" + hunk


def parsed(data):
    patch = parse_patch(data)
    assert isinstance(patch, UnverifiedPatch), patch
    return patch


def only(data):
    (item,) = parsed(data).files
    return item


def denied(data):
    patch = parse_patch(data)
    assert isinstance(patch, Denied), patch
    assert all(reason.isprintable() for reason in patch.reasons)
    return patch
