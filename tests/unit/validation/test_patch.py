"""Reading patches: what is understood, and much more that is refused with its line."""

import pytest

from homeostat.core.limits import MAX_DIFF_BYTES, MAX_DIFF_FILES, MAX_DIFF_HUNKS
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind
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


class TestUnderstood:
    def test_a_git_diff_has_its_path_mode_and_hunk(self):
        item = only(GIT)
        assert (item.kind, item.path, item.old_path, item.mode) == (ChangeKind.MODIFY, "x.txt", "x.txt", REGULAR)
        (hunk,) = item.hunks
        assert (hunk.old, hunk.new, hunk.leading, hunk.trailing) == (b"a\nb\nc\n", b"a\nB\nc\n", 1, 1)
        assert hunk.line == 5

    def test_a_created_a_deleted_and_a_renamed_file_are_told_apart(self):
        patch = parsed(NEW + NEW_HUNK + GONE + GONE_HUNK + RENAME.replace(b"x.txt", b"z.txt"))
        assert [item.kind for item in patch.files] == [ChangeKind.CREATE, ChangeKind.DELETE, ChangeKind.RENAME]
        assert patch.paths == ("n.txt", "x.txt", "y.txt", "z.txt")

    def test_an_empty_file_may_come_and_go_by_its_header_alone(self):
        come = b"diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n"
        go = b"diff --git a/f g b/f g\ndeleted file mode 100755\nindex e69de29..0000000\n"
        one, two = parsed(come + go).files
        assert (one.kind, one.path, one.hunks) == (ChangeKind.CREATE, "e", ())
        assert (two.kind, two.path, two.mode) == (ChangeKind.DELETE, "f g", EXECUTABLE)

    @pytest.mark.parametrize(
        ("old", "new", "path"),
        [
            (b"a/x.txt", b"b/x.txt", "x.txt"),
            (b"a/src/x.txt", b"b/src/x.txt", "src/x.txt"),
            (b"i/x.txt", b"w/x.txt", "x.txt"),
            (b"old/x.txt", b"new/x.txt", "x.txt"),
            (b"x.txt", b"x.txt", "x.txt"),
            (b"a/x.txt\t2024-05-01 10:00:00.000000000 +0200", b"b/x.txt\t2024-05-02 10:00:00 +0200", "x.txt"),
            (b"a/my file.txt\t", b"b/my file.txt\t", "my file.txt"),
            (b'"a/caf\\303\\251 1.txt"', b'"b/caf\\303\\251 1.txt"', "café 1.txt"),
            (b'"a/say \\"hi\\".txt"', b'"b/say \\"hi\\".txt"\t', 'say "hi".txt'),
            (b"a/caf\xc3\xa9.txt", b'"b/caf\\303\\251.txt"', "café.txt"),
        ],
    )
    def test_a_name_loses_its_prefix_quotes_and_time_stamp(self, old, new, path):
        assert only(plain(old, new)).path == path

    @pytest.mark.parametrize(("old", "new"), [(b"/dev/null", b"b/n.txt"), (b"/dev/null\t1970-01-01", b"n.txt")])
    def test_a_plain_diff_creates_a_file(self, old, new):
        item = only(plain(old, new, NEW_HUNK))
        assert (item.kind, item.path) == (ChangeKind.CREATE, "n.txt")

    def test_a_plain_diff_deletes_a_file(self):
        assert only(plain(b"a/x", b"/dev/null", GONE_HUNK)).kind is ChangeKind.DELETE

    @pytest.mark.parametrize(
        "stamp",
        [
            b"1970-01-01 00:00:00.000000000 +0000",
            b"1970-01-01 01:00:00 +0100",
            b"1969-12-31 16:00:00.000000000 -0800",
        ],
    )
    def test_the_epoch_as_time_stamp_is_a_file_that_is_not_there(self, stamp):
        now = b"2024-05-01 10:00:00.000000000 +0000"
        created = only(plain(b"old/n.txt\t" + stamp, b"new/n.txt\t" + now, NEW_HUNK))
        deleted = only(plain(b"old/n.txt\t" + now, b"new/n.txt\t" + stamp, GONE_HUNK))
        changed = only(plain(b"old/n.txt\t" + stamp, b"new/n.txt\t" + stamp))
        assert [item.kind for item in (created, deleted, changed)] == [
            ChangeKind.CREATE,
            ChangeKind.DELETE,
            ChangeKind.MODIFY,
        ]

    def test_a_reversed_diff_may_have_its_prefixes_exchanged(self):
        assert only(b"diff --git b/x.txt a/x.txt\n--- b/x.txt\n+++ a/x.txt\n" + HUNK).path == "x.txt"
        assert only(b"diff --git b/x.txt a/x.txt\n" + PLAIN).path == "x.txt"

    @pytest.mark.parametrize(
        ("header", "old", "new"),
        [
            (b"a/x y b/z w", "x y", "z w"),
            (b'"a/\\303\\251" b/z', "é", "z"),
            (b'a/z "b/\\303\\251"', "z", "é"),
            (b"a/x b/x b/y b/y", "x b/x", "y b/y"),
        ],
    )
    def test_a_rename_takes_its_names_from_its_own_lines(self, header, old, new):
        def quoted(name):
            return b'"\\303\\251"' if name == "é" else name.encode()

        data = b"diff --git %s\nsimilarity index 100%%\nrename from %s\nrename to %s\n"
        item = only(data % (header, quoted(old), quoted(new)))
        assert (item.old_path, item.path) == (old, new)

    @pytest.mark.parametrize(
        "around",
        [
            b"From: me\nSubject: [PATCH] do it\n\n- a point\n+ another\n---\n x.txt | 2 +-\n\n%s-- \n2.40.1\n",
            b"commit 1234\nAuthor: me\n\n    words\n\n%s",
            b"Index: x.txt\n=========\n%s\n\n",
            b"```diff\n%s```\n",
            b"--- not a header\n\n%s",
            b"\n%s\nwords without newline",
        ],
    )
    @pytest.mark.parametrize("diff", [GIT, PLAIN])
    def test_prose_around_a_diff_is_skipped(self, around, diff):
        assert len(only(around % diff).hunks) == 1

    def test_two_mails_in_a_row_are_one_patch(self):
        second = GIT.replace(b"x.txt", b"y.txt")
        mail = b"From 0123 Mon Sep 17\nSubject: [PATCH]\n\n- point\n---\n x.txt | 2 +-\n\n"
        assert parsed(mail + GIT + b"-- \n2.40.1\n\n" + mail + second + b"-- \n2.40.1\n\n").paths == ("x.txt", "y.txt")

    def test_lines_that_look_like_headers_are_content_while_the_counts_say_so(self):
        (hunk,) = only(NAMES + b"@@ -1,3 +1,3 @@\n a\n--- old\n+++ new\n b\n").hunks
        assert (hunk.old, hunk.new) == (b"a\n-- old\nb\n", b"a\n++ new\nb\n")

    def test_only_a_newline_ends_a_line(self):
        (hunk,) = only(NAMES + "@@ -1,2 +1,2 @@\n a\f\v\x1c\u2028\x85z\n-b\rc\n+b\r\n".encode()).hunks
        assert hunk.old == "a\f\v\x1c\u2028\x85z\nb\rc\n".encode()
        assert hunk.new == "a\f\v\x1c\u2028\x85z\nb\r\n".encode()

    def test_bytes_that_are_no_text_are_content(self):
        (hunk,) = only(NAMES + b"@@ -1 +1 @@\n-\xff\x00\n+\xfe\n").hunks
        assert (hunk.old, hunk.new) == (b"\xff\x00\n", b"\xfe\n")

    def test_a_patch_with_crlf_line_ends_has_crlf_contents(self):
        item = only(GIT.replace(b"\n", b"\r\n"))
        assert (item.path, item.hunks[0].old) == ("x.txt", b"a\r\nb\r\nc\r\n")

    def test_a_missing_newline_is_taken_off_the_side_it_belongs_to(self):
        mark = b"\\ No newline at end of file\n"
        (old,) = only(NAMES + b"@@ -1 +1 @@\n-a\n" + mark + b"+a\n").hunks
        (new,) = only(NAMES + b"@@ -1 +1 @@\n-a\n+a\n" + mark).hunks
        (both,) = only(NAMES + b"@@ -1,2 +1 @@\n-a\n b\n" + mark).hunks
        assert [(hunk.old, hunk.new) for hunk in (old, new, both)] == [
            (b"a", b"a\n"),
            (b"a\n", b"a"),
            (b"a\nb", b"b"),
        ]

    def test_the_marker_may_be_in_another_language_and_at_the_very_end(self):
        (hunk,) = only(NAMES + b"@@ -1 +1 @@\n-a\n+b\n\\ Kein Zeilenumbruch am Dateiende.").hunks
        assert hunk.new == b"b"

    def test_a_blank_line_in_a_hunk_is_an_empty_context_line(self):
        (hunk,) = only(NAMES + b"@@ -1,3 +1,3 @@\n a\n\n-b\n+B\n").hunks
        assert hunk.old == b"a\n\nb\n"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"diff --git a/x.txt\n" + PLAIN, 1),
        (b"diff --git a/x.txt b/y.txt\n" + PLAIN, 1),
        (b"diff --git a/y.txt b/y.txt\n" + PLAIN, 1),
        (b"diff --git a/x.txt b/x.txt extra\n" + PLAIN, 1),
        (b"diff --git x.txt x.txt\n--- x.txt\n+++ x.txt\n" + HUNK, 1),
        (b"diff --git src/x.txt src/x.txt\n--- src/x.txt\n+++ src/x.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt a/x.txt\n--- a/x.txt\n+++ a/x.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ b/y.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt b/x.txt\n--- c/x.txt\n+++ d/x.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt b/x.txt\n--- a/x.txt\n+++ a/x.txt\n" + HUNK, 1),
        (plain(b"a/x.txt", b"b/y.txt"), 1),
        (plain(b"src/x.txt", b"src/x.txt"), 1),
        (plain(b"a/x.txt", b"a/x.txt"), 1),
        (plain(b"x.txt", b"y.txt"), 1),
        (plain(b"x.txt", b"b/x.txt"), 1),
        (plain(b"x.txt.orig", b"x.txt"), 1),
        (plain(b"/dev/null", b"src/n.txt", NEW_HUNK), 1),
        (plain(b"src/x.txt", b"/dev/null", GONE_HUNK), 1),
        (RENAME.replace(b"from x.txt", b"from z.txt"), 1),
        (RENAME.replace(b"to y.txt", b"to z.txt"), 1),
        (RENAME.replace(b"100", b"90") + b"--- a/x.txt\n+++ b/z.txt\n" + HUNK, 1),
    ],
)
def test_a_header_that_can_be_read_in_two_ways_is_ambiguous(data, line):
    refusal = denied(data)
    assert refusal.code == "ambiguous-header"
    assert refusal.reasons[0].startswith(f"line {line}: ")
    assert refusal.hint


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (NAMES, 1),
        (NAMES + b"words\n", 1),
        (b"diff --git a/x.txt b/x.txt\n--- a/x.txt\n" + HUNK, 2),
        (b"diff --git a/x.txt b/x.txt\n+++ b/x.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt b/x.txt\n" + HUNK, 1),
        (b"diff --git a/x.txt b/x.txt\nindex 1234567..89abcde 100644\n", 1),
        (b"diff --git a/x.txt b/x.txt\nwords\n" + PLAIN, 1),
        (GIT + b"diff --git a/y.txt b/y.txt\n", 10),
        (GIT.replace(b"index 1234567..89abcde", b"index 1234567.89abcde"), 2),
        (GIT.replace(b"100644", b"1006"), 2),
        (GIT.replace(b"100644", b"100648"), 2),
        (plain(b"", b"b/x.txt"), 1),
        (plain(b'""', b"b/x.txt"), 1),
        (plain(b'"a/x.txt', b'"b/x.txt"'), 1),
        (plain(b'"a/x\\q.txt"', b'"b/x\\q.txt"'), 1),
        (plain(b'"a/x\\400.txt"', b'"b/x\\400.txt"'), 1),
        (plain(b'"a/x\\12"', b'"b/x\\12"'), 1),
        (plain(b'"a/x.txt"z', b'"b/x.txt"'), 1),
        (plain(b"/dev/null", b"/dev/null", NEW_HUNK), 1),
        (NEW.replace(b"/dev/null", b"a/n.txt") + NEW_HUNK, 1),
        (NEW.replace(b"new file mode 100644\n", b"") + NEW_HUNK, 1),
        (GONE.replace(b"deleted file mode 100644\n", b"") + GONE_HUNK, 1),
        (GONE.replace(b"/dev/null", b"b/x.txt") + GONE_HUNK, 1),
        (NEW.replace(b"new file mode", b"deleted file mode") + NEW_HUNK, 1),
        (NEW.replace(b"index ", b"deleted file mode 100644\nindex ") + NEW_HUNK, 1),
        (NEW.replace(b"index 0", b"new file mode 100644\nindex 0") + NEW_HUNK, 3),
        (NEW.replace(b"814f4a4", b"814f4a4 100755") + NEW_HUNK, 1),
        (RENAME.replace(b"rename to y.txt\n", b""), 1),
        (RENAME.replace(b"rename from x.txt\n", b""), 1),
        (RENAME.replace(b"100%", b"101%"), 2),
        (RENAME.replace(b"100%", b"much"), 2),
        (RENAME + b"deleted file mode 100644\n", 1),
        (plain(b"a/" + b"n" * 30_000, b"b/x"), 1),
    ],
)
def test_a_header_that_no_tool_writes_is_malformed(data, line):
    refusal = denied(data)
    assert refusal.code == "malformed-header"
    assert refusal.reasons[0].startswith(f"line {line}: ")


@pytest.mark.parametrize(
    ("hunk", "line"),
    [
        (b"@@ -1,3 +1,3 @\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,3 +1,3\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,3 1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ 1,3 +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,3 +1,3 @@@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,3 +1,3 @@x\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,x +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,-3 +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1, +1,3 @@\n a\n-b\n+B\n c\n", 3),
        ("@@ -١,3 +1,3 @@\n a\n-b\n+B\n c\n".encode(), 3),
        (b"@@ -9999999999,3 +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -" + b"9" * 5000 + b",3 +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -0,3 +1,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,3 +0,3 @@\n a\n-b\n+B\n c\n", 3),
        (b"@@ -1,4 +1,4 @@\n a\n-b\n+B\n c\n", 8),
        (b"@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n", 8),
        (b"@@ -1,4 +1,3 @@\n a\n-b\n+B\n c\n", 8),
        (b"@@ -1,999999999 +1,3 @@\n a\n-b\n+B\n c\n", 8),
        (b"@@ -1,1 +1,2 @@\n a\n-b\n+B\n c\n", 5),
        (b"@@ -1,3 +1,3 @@\n a\n-b\nB\n c\n", 6),
        (b"@@ -1,3 +1,3 @@\n a\n-b\n+B\n@@ -9 +9 @@\n-x\n+y\n", 7),
        (b"@@ -1,3 +1,3 @@\n a\n-b\n+B\ndiff --git a/y b/y\n", 7),
        (b"@@ -1,3 +1,3 @@\n a\n-b\n+B\n\r\n", 7),
        (b"@@ -1,3 +1,3 @@\n\\ No newline at end of file\n a\n-b\n+B\n c\n", 4),
        (b"@@ -1 +1 @@\n-a\n\\ No newline at end of file\n\\ No newline at end of file\n+b\n", 6),
        (b"@@ -1 +1 @@\n-a\n\\ No\n+b\n", 5),
        (b"@@ -1,2 +1,2 @@\n a\n\\ No newline at end of file\n-b\n+B\n", 6),
        (b"@@ -1,2 +1,2 @@\n-a\n\\ No newline at end of file\n-b\n+B\n+C\n", 6),
        (b"@@ -1,2 +1,2 @@\n-a\n-b\n+A\n\\ No newline at end of file\n+B\n", 8),
        (b"@@ -1 +1 @@\n-a\n+b\n\\ No newline at end of file\n@@ -5 +5 @@\n-c\n+d\n", 3),
    ],
)
def test_a_hunk_that_is_not_what_its_header_says_is_malformed(hunk, line):
    refusal = denied(NAMES + hunk)
    assert refusal.code == ("malformed-header" if not hunk.startswith(b"@@ ") else "malformed-hunk")
    assert refusal.reasons[0].startswith(f"line {line}: ")


@pytest.mark.parametrize(
    "tail",
    [
        b" d\n",
        b"+evil\n",
        b"-d\n",
        b"\n+evil\n",
        b"\n\n d\n",
        b"\\ No newline at end of file\n\\ No newline at end of file\n",
        b"@@ nonsense @@\n",
        b"--- a/y.txt\n",
        b"+++ b/y.txt\n" + HUNK,
        b"--- a/y.txt\n" + HUNK,
        b"@@ -9 +9 @@",
        b"@@ -9 +9 @@\n",
    ],
)
def test_text_after_a_hunk_that_looks_like_more_of_it_is_refused(tail):
    assert denied(PLAIN + tail).code in ("leftover-text", "malformed-hunk", "truncated-patch")


@pytest.mark.parametrize("size", range(1, len(GIT)))
def test_a_patch_cut_off_anywhere_is_refused(size):
    denied(GIT[:size])


@pytest.mark.parametrize("size", range(1, len(GIT) + 1))
def test_a_second_file_cut_off_anywhere_is_refused_with_the_first(size):
    second = GIT.replace(b"x.txt", b"y.txt")
    if size < len(second):
        denied(GIT + second[:size])
    else:
        assert len(parsed(GIT + second).files) == 2


@pytest.mark.parametrize(
    "data",
    [
        RENAME.replace(b"100%", b"83%"),
        NEW.partition(b"--- ")[0],
        PLAIN[:-1],
        GIT[:-1],
        RENAME[:-1],
        PLAIN + b"diff --gi",
        PLAIN + b"-",
        PLAIN + b"\n--",
    ],
)
def test_a_patch_that_ends_too_early_says_so(data):
    assert denied(data).code in ("truncated-patch", "leftover-text")


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
