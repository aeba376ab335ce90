"""Reading patches: paths, kinds of change and sizes that are refused."""

import pytest
from patch_samples import GIT, GONE, GONE_HUNK, HUNK, NAMES, NEW, NEW_HUNK, PLAIN, RENAME, denied, only, parsed, plain

from homeostat.core.limits import MAX_DIFF_BYTES, MAX_DIFF_FILES, MAX_DIFF_HUNKS


@pytest.mark.parametrize(
    "path",
    [
        b"/etc/passwd",
        b"../x",
        b"s/../../x",
        b"./x",
        b"s//x",
        b"s/",
        b".git/config",
        b"sub/.GIT/config",
        b".git./config",
        b".git /config",
        b"git~1/config",
        ".g\u200cit/config".encode(),
        b"s\\x",
        b"..\\x",
        b"C:/x",
        b"c:x",
        b"~/x",
        b"a\x00b",
        b"a\x1bb",
        b"a\rb",
        b"a\x7fb",
        b"caf\xe9",
        "a\u202eb".encode(),
    ],
)
class TestUnsafePaths:
    def test_in_a_plain_diff(self, path):
        assert denied(plain(b"a/" + path, b"b/" + path)).code == "unsafe-path"

    def test_in_a_created_file(self, path):
        assert denied(NEW.replace(b"n.txt", path) + NEW_HUNK).code == "unsafe-path"

    def test_in_a_deleted_file(self, path):
        assert denied(GONE.replace(b"x.txt", path) + GONE_HUNK).code == "unsafe-path"

    def test_in_an_empty_created_file(self, path):
        data = b"diff --git a/%s b/%s\nnew file mode 100644\n" % (path, path)
        assert denied(data).code == "unsafe-path"

    @pytest.mark.parametrize("name", [b"x.txt", b"y.txt"])
    def test_on_either_side_of_a_rename(self, path, name):
        assert denied(RENAME.replace(name, path)).code == "unsafe-path"

    def test_quoted_in_octal(self, path):
        quoted = b'"%%s/%s"' % b"".join(b"\\%03o" % byte for byte in path)
        assert denied(plain(quoted % b"a", quoted % b"b")).code == "unsafe-path"

    def test_without_a_prefix(self, path):
        assert denied(plain(path, path)).code in ("unsafe-path", "ambiguous-header")
        assert denied(plain(b"/dev/null", path, NEW_HUNK)).code in ("unsafe-path", "ambiguous-header")

    def test_before_a_good_file(self, path):
        assert denied(plain(b"a/" + path, b"b/" + path) + PLAIN).code == "unsafe-path"
        assert denied(PLAIN + plain(b"a/" + path, b"b/" + path)).code == "unsafe-path"


@pytest.mark.parametrize("prefix", [b"..", b".git", b"C:", b"~", b"a\\", b""])
def test_a_prefix_that_is_no_plain_folder_is_unsafe(prefix):
    assert denied(plain(prefix + b"/x.txt", b"b/x.txt")).code == "unsafe-path"


@pytest.mark.parametrize(
    "escape", [b"\\n", b"\\t", b"\\r", b"\\a", b"\\b", b"\\v", b"\\f", b"\\000", b"\\\\", b"\\377"]
)
def test_a_quoted_name_cannot_carry_what_a_plain_one_may_not(escape):
    assert denied(plain(b'"a/x%s"' % escape, b'"b/x%s"' % escape)).code == "unsafe-path"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (NEW.replace(b"100644", b"120000") + NEW_HUNK, "symlink-in-patch"),
        (GONE.replace(b"100644", b"120000") + GONE_HUNK, "symlink-in-patch"),
        (GIT.replace(b"100644", b"120000"), "symlink-in-patch"),
        (b"diff --git a/x b/x\nold mode 100644\nnew mode 120000\n", "symlink-in-patch"),
        (NEW.replace(b"100644", b"160000") + NEW_HUNK, "submodule-in-patch"),
        (GIT.replace(b"100644", b"160000"), "submodule-in-patch"),
        (b"diff --git a/x b/x\nold mode 100644\nnew mode 100755\n", "mode-change"),
        (b"diff --git a/x.txt b/x.txt\nold mode 100755\nnew mode 100644\n" + PLAIN, "mode-change"),
        (b"diff --git a/x b/x\nold mode 100644\n", "mode-change"),
        (NEW.replace(b"100644", b"100755") + NEW_HUNK, "mode-change"),
        (NEW.replace(b"100644", b"104755") + NEW_HUNK, "mode-change"),
        (NEW.replace(b"100644", b"040000") + NEW_HUNK, "mode-change"),
        (NEW.replace(b"100644", b"100666") + NEW_HUNK, "mode-change"),
        (RENAME + b"old mode 100644\nnew mode 100755\n", "mode-change"),
        (RENAME.replace(b"rename", b"copy"), "copy-in-patch"),
        (b"diff --git a/x b/x\nindex 1..2 100644\nGIT binary patch\nliteral 3\nKcmZo\n\n", "binary-patch"),
        (b"diff --git a/x b/x\nindex 1..2 100644\nBinary files a/x and b/x differ\n", "binary-patch"),
        (b"Binary files old/x and new/x differ\n", "binary-patch"),
        (PLAIN + b"Binary files old/y and new/y differ\n", "binary-patch"),
        (b"diff --cc x\nindex 1,2..3\n--- a/x\n+++ b/x\n@@@ -1,1 -1,1 +1,1 @@@\n- a\n -b\n++c\n", "combined-diff"),
        (b"diff --combined x\n", "combined-diff"),
        (b"", "empty-patch"),
        (b"\n", "empty-patch"),
        (b"words only\n", "empty-patch"),
        (b"*** a/x\n--- b/x\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "empty-patch"),
        (HUNK, "malformed-hunk"),
        (b"words\n" + HUNK, "malformed-hunk"),
        (NAMES + b"@@ -1,2 +1,2 @@\n a\n b\n", "no-op-change"),
        (PLAIN + b"@@ -7,2 +7,2 @@\n a\n b\n", "no-op-change"),
        (NAMES + b"@@ -1,0 +1,0 @@\n", "no-op-change"),
        (RENAME.replace(b"y.txt", b"x.txt"), "no-op-change"),
    ],
)
def test_what_a_small_text_change_never_needs_is_refused(data, code):
    assert denied(data).code == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (PLAIN + PLAIN, "path-twice"),
        (GIT + GIT, "path-twice"),
        (PLAIN + GONE + GONE_HUNK, "path-twice"),
        (NEW + NEW_HUNK + NEW + NEW_HUNK, "path-twice"),
        (RENAME + GIT, "path-twice"),
        (RENAME + GIT.replace(b"x.txt", b"y.txt"), "path-twice"),
        (RENAME + RENAME.replace(b"y.txt", b"z.txt"), "path-twice"),
        (RENAME + RENAME.replace(b"y.txt", b"z.txt").replace(b"x.txt", b"y.txt"), "path-twice"),
        (PLAIN + PLAIN.replace(b"x.txt", b"X.TXT"), "case-collision"),
        (RENAME.replace(b"y.txt", b"X.txt"), "case-collision"),
        (PLAIN.replace(b"x.txt", b"caf\xc3\xa9") + PLAIN.replace(b"x.txt", b"cafe\xcc\x81"), "case-collision"),
        (NEW + NEW_HUNK + NEW.replace(b"n.txt", b"n.txt/below") + NEW_HUNK, "path-conflict"),
        (NEW.replace(b"n.txt", b"x.txt/below") + NEW_HUNK + GONE + GONE_HUNK, "path-conflict"),
        (NEW.replace(b"n.txt", b"X.TXT/below") + NEW_HUNK + GONE + GONE_HUNK, "path-conflict"),
        (RENAME.replace(b"y.txt", b"x.txt/y"), "path-conflict"),
    ],
)
def test_two_changes_of_what_may_be_one_file_are_refused(data, code):
    assert denied(data).code == code


@pytest.mark.parametrize(
    "hunks",
    [
        HUNK + HUNK,
        HUNK + b"@@ -3,2 +3,2 @@\n c\n-d\n+D\n",
        b"@@ -10,2 +10,2 @@\n-a\n+A\n b\n" + HUNK,
        b"@@ -3,0 +4 @@\n+a\n@@ -3,0 +5 @@\n+b\n",
        b"@@ -3,0 +4 @@\n+a\n@@ -2 +2 @@\n-b\n+B\n",
    ],
)
def test_hunks_that_overlap_or_go_back_are_refused(hunks):
    assert denied(NAMES + hunks).code == "overlapping-hunks"


@pytest.mark.parametrize(
    "data",
    [
        NEW + b"@@ -0,0 +2,2 @@\n+one\n+two\n",
        NEW + b"@@ -1,0 +1,2 @@\n+one\n+two\n",
        NEW + b"@@ -1 +1,2 @@\n one\n+two\n",
        NEW + NEW_HUNK + b"@@ -0,0 +3 @@\n+three\n",
        GONE + b"@@ -1,2 +1,0 @@\n-one\n-two\n",
        GONE + b"@@ -2,2 +0,0 @@\n-one\n-two\n",
        GONE + b"@@ -1,2 +1 @@\n-one\n two\n",
        GONE + GONE_HUNK + b"@@ -5 +0,0 @@\n-x\n",
    ],
)
def test_a_file_is_created_or_deleted_as_a_whole(data):
    assert denied(data).code in ("malformed-hunk", "overlapping-hunks")


class TestLimits:
    def test_a_diff_above_the_size_limit_is_refused_unread(self):
        assert denied(b" " * (MAX_DIFF_BYTES + 1)).code == "diff-too-large"

    def test_files_are_counted(self):
        many = b"".join(PLAIN.replace(b"x.txt", b"%d.txt" % number) for number in range(MAX_DIFF_FILES + 1))
        assert denied(many).code == "too-many-files"
        assert len(parsed(many[: many.rindex(b"--- a/")]).files) == MAX_DIFF_FILES

    def test_hunks_are_counted_over_all_files(self):
        many = b"".join(b"@@ -%d +%d @@\n-a\n+b\n" % (n, n) for n in range(1, MAX_DIFF_HUNKS + 1))
        assert len(only(NAMES + many).hunks) == MAX_DIFF_HUNKS
        assert denied(NAMES + many + PLAIN.replace(b"x.txt", b"y.txt")).code == "too-many-hunks"

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize(
        "data",
        [
            b"\n" * MAX_DIFF_BYTES,
            b"--- a/x\n" * (MAX_DIFF_BYTES // 8),
            b"diff --git " + b"a " * (MAX_DIFF_BYTES // 2 - 20) + b"\n",
            b'--- "' + b"\\" * (MAX_DIFF_BYTES - 40) + b"\n+++ b/x\n@@ -1 +1 @@\n",
            b"Binary files " * (MAX_DIFF_BYTES // 13),
            NAMES + b"@@ -1 +1,900000000 @@\n-a\n" + b"+\n" * (MAX_DIFF_BYTES // 2 - 40),
            b"@" * MAX_DIFF_BYTES,
            NAMES + b"@@ -1 +1 @@ " + b" " * (MAX_DIFF_BYTES - 60) + b"\n",
        ],
    )
    def test_no_input_takes_long(self, data):
        assert len(data) <= MAX_DIFF_BYTES
        denied(data)
