"""Reading patches: what is understood, and headers, hunks and ends that are refused with their line."""

import pytest
from patch_samples import GIT, GONE, GONE_HUNK, HUNK, NAMES, NEW, NEW_HUNK, PLAIN, RENAME, denied, only, parsed, plain

from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind


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
