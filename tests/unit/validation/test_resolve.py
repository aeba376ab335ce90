"""Resolving patches: exactly the named change of exactly the named files, or nothing at all."""

import hashlib

import pytest

from homeostat.core.limits import MAX_DIFF_HUNKS, MAX_PATCHED_BYTES
from homeostat.model.change import EXECUTABLE, REGULAR, ChangeKind, FileMode, FileState, TreeChange
from homeostat.model.verdict import Denied
from homeostat.validation.patch import UnverifiedPatch, parse_patch
from homeostat.validation.resolve import resolve

NAMES = b"--- a/x.txt\n+++ b/x.txt\n"
TEN = b"".join(b"line %d\n" % number for number in range(1, 11))
FIVE_TO_SEVEN = b"@@ -5,3 +5,3 @@\n line 5\n-line 6\n+LINE 6\n line 7\n"
NO_NEWLINE = b"\\ No newline at end of file\n"
NEW = b"diff --git a/%s b/%s\nnew file mode 100644\n--- /dev/null\n+++ b/%s\n@@ -0,0 +1 @@\n+one\n"
GONE = b"diff --git a/x.txt b/x.txt\ndeleted file mode 100644\n--- a/x.txt\n+++ /dev/null\n@@ -1,2 +0,0 @@\n-a\n-b\n"
RENAME = b"diff --git a/x.txt b/y.txt\nsimilarity index 100%\nrename from x.txt\nrename to y.txt\n"


def answer(patch, before, *, tree=(), modes=None):
    parsed = parse_patch(patch)
    assert isinstance(parsed, UnverifiedPatch), parsed
    modes = modes or {}
    base = {path: FileState(content=text, mode=modes.get(path, REGULAR)) for path, text in before.items()}
    return resolve(parsed, {path: base.get(path) for path in parsed.paths}, tree_paths=[*before, *tree])


def change(patch, before, **options):
    result = answer(patch, before, **options)
    assert isinstance(result, TreeChange), result
    return result


def after(patch, before, **options):
    """Return the contents of the files after the patch; the inverse must give back the ones before."""
    result = change(patch, before, **options)
    files = applied(result, before)
    assert applied(result.inverse(), files) == before
    return files


def applied(result, before):
    files = dict(before)
    for item in result.files:
        found = files.pop(item.old_path, None)
        assert found == (item.before and item.before.content)
    for item in result.files:
        if item.after is not None:
            files[item.path] = item.after.content
    return files


def denied(patch, before, **options):
    result = answer(patch, before, **options)
    assert isinstance(result, Denied), result
    return result


def modified(hunks, content):
    return after(NAMES + hunks, {"x.txt": content})["x.txt"]


def refused(hunks, content):
    return denied(NAMES + hunks, {"x.txt": content}).code


def blob(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest().encode()


class TestContents:
    def test_a_hunk_changes_its_lines_and_no_other_byte(self):
        assert modified(FIVE_TO_SEVEN, TEN) == TEN.replace(b"line 6", b"LINE 6")

    def test_several_hunks_count_from_the_old_file(self):
        hunks = b"@@ -1,2 +1,4 @@\n line 1\n+n1\n+n2\n line 2\n@@ -9,2 +11 @@\n line 9\n-line 10\n"
        assert modified(hunks, TEN) == TEN.replace(b"line 1\n", b"line 1\nn1\nn2\n", 1).replace(b"line 10\n", b"")

    def test_the_named_place_wins_over_equal_text_elsewhere(self):
        assert modified(b"@@ -4,3 +4,3 @@\n p\n-q\n+Q\n r\n", b"p\nq\nr\n" * 3) == b"p\nq\nr\np\nQ\nr\np\nq\nr\n"

    @pytest.mark.parametrize(
        ("before", "hunk", "expected"),
        [
            (b"a\nb", b"@@ -1,2 +1,2 @@\n a\n-b\n" + NO_NEWLINE + b"+b\n", b"a\nb\n"),
            (b"a\nb\n", b"@@ -1,2 +1,2 @@\n a\n-b\n+b\n" + NO_NEWLINE, b"a\nb"),
            (b"a\nb", b"@@ -1,2 +1,2 @@\n-a\n+A\n b\n" + NO_NEWLINE, b"A\nb"),
            (b"a\nb", b"@@ -1,2 +1 @@\n-a\n-b\n" + NO_NEWLINE + b"+c\n" + NO_NEWLINE, b"c"),
            (b"a\r\nb\r\n", b"@@ -1,2 +1,2 @@\n a\r\n-b\r\n+b\n", b"a\r\nb\n"),
            (b"a\rb\n", b"@@ -1 +1 @@\n-a\rb\n+a\rc\n", b"a\rc\n"),
            (b"", b"@@ -0,0 +1 @@\n+a\n", b"a\n"),
            (b"a\n", b"@@ -1 +0,0 @@\n-a\n", b""),
            (b"\xff\x00\n", b"@@ -1 +1 @@\n-\xff\x00\n+\xfe\n", b"\xfe\n"),
        ],
    )
    def test_line_ends_are_bytes_like_others(self, before, hunk, expected):
        assert modified(hunk, before) == expected

    def test_the_mode_of_a_changed_or_renamed_file_stays(self):
        (item,) = change(NAMES + FIVE_TO_SEVEN, {"x.txt": TEN}, modes={"x.txt": EXECUTABLE}).files
        assert item.before.mode == item.after.mode == EXECUTABLE
        (item,) = change(RENAME, {"x.txt": TEN}, modes={"x.txt": EXECUTABLE}).files
        assert item.after == item.before == FileState(content=TEN, mode=EXECUTABLE)

    def test_a_file_is_created_in_a_new_folder_as_a_regular_file(self):
        (item,) = change(NEW.replace(b"%s", b"n/new.txt"), {}).files
        assert (item.kind, item.path, item.old_path) == (ChangeKind.CREATE, "n/new.txt", "n/new.txt")
        assert (item.before, item.after) == (None, FileState(content=b"one\n", mode=REGULAR))

    def test_a_file_is_deleted(self):
        assert after(GONE, {"x.txt": b"a\nb\n", "y.txt": b"1"}) == {"y.txt": b"1"}

    def test_an_executable_file_is_deleted_by_its_own_mode(self):
        patch = GONE.replace(b"100644", b"100755")
        assert change(patch, {"x.txt": b"a\nb\n"}, modes={"x.txt": EXECUTABLE}).files[0].after is None

    def test_a_file_is_renamed_and_edited(self):
        patch = RENAME.replace(b"100%", b"90%") + b"--- a/x.txt\n+++ b/y.txt\n" + FIVE_TO_SEVEN
        assert after(patch, {"x.txt": TEN}) == {"y.txt": TEN.replace(b"line 6", b"LINE 6")}

    def test_an_empty_file_is_created_and_deleted(self):
        created = b"diff --git a/e b/e\nnew file mode 100644\nindex 0000000..e69de29\n"
        assert after(created, {}) == {"e": b""}
        deleted = created.replace(b"new file", b"deleted file")
        assert after(deleted, {"e": b""}) == {}


class TestShifts:
    @pytest.mark.parametrize("drift", [b"zero\n", b"n\n" * 100, b"\n"])
    def test_a_hunk_follows_its_lines_to_their_only_place(self, drift):
        assert modified(FIVE_TO_SEVEN, drift + TEN) == drift + TEN.replace(b"line 6", b"LINE 6")

    def test_a_hunk_follows_its_lines_upwards(self):
        content = TEN.partition(b"line 4\n")[2]
        assert modified(FIVE_TO_SEVEN, content) == content.replace(b"line 6", b"LINE 6")

    def test_a_line_number_far_behind_the_file_is_drift_too(self):
        hunk = FIVE_TO_SEVEN.replace(b"-5,3 +5,3", b"-900000000,3 +900000000,3")
        assert modified(hunk, TEN) == TEN.replace(b"line 6", b"LINE 6")

    def test_hunks_may_drift_by_different_lengths(self):
        hunks = b"@@ -2,3 +2,3 @@\n line 2\n-line 3\n+LINE 3\n line 4\n" + FIVE_TO_SEVEN
        content = b"0\n" + TEN.replace(b"line 5\n", b"x\ny\nline 5\n")
        assert modified(hunks, content) == content.replace(b"line 3", b"LINE 3").replace(b"line 6", b"LINE 6")

    @pytest.mark.parametrize("where", [b"0\n1\n", b""])
    def test_several_possible_places_are_ambiguous(self, where):
        hunk = b"@@ -5,3 +5,3 @@\n p\n-q\n+Q\n r\n"
        assert refused(hunk, where + b"p\nq\nr\n" * 2) == "ambiguous-place"

    def test_overlapping_occurrences_are_several_places(self):
        assert refused(b"@@ -9,3 +9,3 @@\n a\n-b\n+B\n a\n", b"a\nb\na\nb\na\n") == "ambiguous-place"

    def test_once_one_hunk_has_drifted_the_others_named_places_prove_nothing(self):
        hunks = FIVE_TO_SEVEN + b"@@ -12,3 +12,3 @@\n p\n-q\n+Q\n r\n"
        tail = b"0\np\nq\nr\np\nq\nr\n"
        assert modified(hunks, TEN + tail) == TEN.replace(b"line 6", b"LINE 6") + tail.replace(b"q", b"Q", 1)
        assert refused(hunks, TEN.replace(b"line 1\n", b"") + b"new\n" + tail) == "ambiguous-place"

    def test_contradicting_line_numbers_prove_nothing(self):
        hunk = b"@@ -4,3 +7,3 @@\n p\n-q\n+Q\n r\n"
        assert refused(hunk, b"p\nq\nr\n" * 3) == "ambiguous-place"
        assert modified(hunk, b"1\n2\n3\np\nq\nr\n") == b"1\n2\n3\np\nQ\nr\n"

    def test_a_part_of_a_line_is_no_place(self):
        assert refused(b"@@ -1,2 +1,2 @@\n b\n-c\n+C\n", b"ab\nc\nd\n") == "stale-context"
        assert refused(b"@@ -4,3 +4,3 @@\n b\n-c\n+C\n d\n", b"ab\nc\nd\n") == "stale-context"

    def test_a_hunk_without_context_is_never_moved(self):
        assert refused(b"@@ -2 +2 @@\n-line 3\n+LINE 3\n", TEN) == "stale-context"

    def test_a_hunk_of_the_files_beginning_is_not_moved_away_from_it(self):
        hunk = b"@@ -1,2 +1,3 @@\n+first\n line 1\n line 2\n"
        assert modified(hunk, TEN) == b"first\n" + TEN
        assert refused(hunk, b"zero\n" + TEN) == "stale-context"

    def test_a_hunk_of_the_files_end_is_not_moved_away_from_it(self):
        hunk = b"@@ -9,2 +9,3 @@\n line 9\n line 10\n+last\n"
        assert modified(hunk, TEN) == TEN + b"last\n"
        assert modified(hunk, b"0\n" + TEN) == b"0\n" + TEN + b"last\n"
        assert refused(hunk, TEN + b"line 11\n") == "stale-context"
        assert refused(hunk, b"0\n" + TEN + b"line 11\n") == "stale-context"

    def test_shifted_hunks_may_not_cross_or_overlap(self):
        hunks = b"@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n@@ -12,3 +12,3 @@\n d\n-e\n+E\n f\n"
        assert refused(hunks, b"d\ne\nf\na\nb\nc\n") == "overlapping-hunks"
        hunks = b"@@ -2,3 +2,3 @@\n a\n-b\n+B\n c\n@@ -12,3 +12,3 @@\n c\n-e\n+E\n f\n"
        assert refused(hunks, b"a\nb\nc\ne\nf\n") == "overlapping-hunks"


class TestStale:
    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"line 5\nline 6\n",
            TEN.replace(b"line 6", b"line six"),
            TEN.replace(b"line 5", b"line five"),
            TEN.replace(b"line 7", b"line seven"),
            TEN.replace(b"line 6\n", b"line 6\n\n"),
            TEN.replace(b"line 6\n", b""),
            TEN.replace(b"line 6\n", b"LINE 6\n"),
            TEN.replace(b"line 6", b"line 6 "),
            TEN.replace(b"line 6", b"line  6"),
            TEN.replace(b"line 6", b"\tline 6"),
            TEN.replace(b"\n", b"\r\n"),
            TEN.replace(b"line 7\n", b"line 7\r\n"),
            TEN.replace(b"\n", b"\r"),
            TEN.partition(b"\nline 8")[0],
        ],
    )
    def test_context_that_differs_by_a_byte_is_stale(self, content):
        assert refused(FIVE_TO_SEVEN, content) == "stale-context"

    @pytest.mark.parametrize(
        ("content", "hunk"),
        [
            (b"a\r\n", b"@@ -1 +1 @@\n-a\n+b\n"),
            (b"a\n", b"@@ -1 +1 @@\n-a\r\n+b\r\n"),
            (b"a", b"@@ -1 +1 @@\n-a\n+b\n"),
            (b"a\n", b"@@ -1 +1 @@\n-a\n" + NO_NEWLINE + b"+b\n"),
            (b"a\nb\n", b"@@ -1 +1 @@\n-a\n" + NO_NEWLINE + b"+b\n"),
            (b"a\nb\n", b"@@ -1 +1 @@\n-a\n+b\n" + NO_NEWLINE),
            (b"ab\n", b"@@ -1 +1 @@\n-a\n" + NO_NEWLINE + b"+b\n"),
            (b"a\nb\nc\n", b"@@ -1,2 +1,2 @@\n a\n-b\n+B\n"),
            (b"a\nb\nc\n", b"@@ -1,2 +1,2 @@\n a\n-b\n+B\n" + NO_NEWLINE),
        ],
    )
    def test_the_files_end_and_line_ends_must_be_as_the_hunk_says(self, content, hunk):
        assert refused(hunk, content) == "stale-context"

    def test_a_deleted_file_must_have_exactly_the_removed_contents(self):
        for content in (b"a\n", b"a\nb", b"a\nb\nc\n", b"b\na\n", b"a\r\nb\r\n", b""):
            assert denied(GONE, {"x.txt": content}).code == "stale-context"

    def test_a_file_with_contents_is_not_deleted_as_an_empty_one(self):
        patch = b"diff --git a/x.txt b/x.txt\ndeleted file mode 100644\nindex e69de29..0000000\n"
        assert denied(patch, {"x.txt": b"a\n"}).code == "stale-context"

    def test_another_mode_than_the_patch_says_is_stale(self):
        patch = b"diff --git a/x.txt b/x.txt\nindex 1234567..89abcde 100755\n" + NAMES + FIVE_TO_SEVEN
        assert denied(patch, {"x.txt": TEN}).code == "stale-context"
        assert denied(GONE, {"x.txt": b"a\nb\n"}, modes={"x.txt": EXECUTABLE}).code == "stale-context"

    @pytest.mark.parametrize("mode", [0o120000, 0o160000, 0o040000, 0o100666])
    def test_what_is_no_regular_file_is_not_patched(self, mode):
        modes = {"x.txt": FileMode(mode)}
        assert denied(NAMES + FIVE_TO_SEVEN, {"x.txt": TEN}, modes=modes).code == "stale-context"

    @pytest.mark.parametrize("patch", [NAMES + FIVE_TO_SEVEN, GONE, RENAME])
    @pytest.mark.parametrize("tree", [(), ("x.txt",), ("x.txt/below",)])
    def test_a_file_that_is_not_there_is_missing(self, patch, tree):
        assert denied(patch, {}, tree=tree).code == "file-missing"

    def test_every_reason_names_line_and_path(self):
        refusal = denied(b"words\n" + NAMES + FIVE_TO_SEVEN, {"x.txt": b"a\n"})
        assert refusal.reasons[0].startswith("line 4: `x.txt`: ")
        assert refusal.hint

    def test_a_file_that_does_not_fit_refuses_the_whole_patch(self):
        good = NAMES + FIVE_TO_SEVEN
        bad = good.replace(b"x.txt", b"y.txt")
        files = {"x.txt": TEN, "y.txt": b"other\n"}
        assert denied(good + bad, files).code == "stale-context"
        assert denied(bad + good, files).code == "stale-context"
        assert denied(good + NEW.replace(b"%s", b"y.txt"), files).code == "file-exists"

    def test_a_hunk_that_does_not_fit_refuses_the_whole_file(self):
        hunks = FIVE_TO_SEVEN + b"@@ -9,2 +9,2 @@\n line 9\n-line ten\n+LINE 10\n"
        assert refused(hunks, TEN) == "stale-context"


class TestBlindInsertions:
    """Insertions without context, as ``git diff -U0`` writes them."""

    HUNK = b"@@ -3,0 +4,2 @@\n+n1\n+n2\n"

    @staticmethod
    def named(content, hunk, digits=7):
        return b"diff --git a/x.txt b/x.txt\nindex %s..1234567 100644\n" % blob(content)[:digits] + NAMES + hunk

    @pytest.mark.parametrize("digits", [7, 12, 40])
    def test_into_the_very_file_the_diff_was_made_from(self, digits):
        expected = TEN.replace(b"line 3\n", b"line 3\nn1\nn2\n")
        assert after(self.named(TEN, self.HUNK, digits), {"x.txt": TEN}) == {"x.txt": expected}

    def test_at_either_end(self):
        first, last = b"@@ -0,0 +1 @@\n+n\n", b"@@ -10,0 +11 @@\n+n\n"
        assert after(self.named(TEN, first), {"x.txt": TEN}) == {"x.txt": b"n\n" + TEN}
        assert after(self.named(TEN, last), {"x.txt": TEN}) == {"x.txt": TEN + b"n\n"}

    def test_into_another_file_are_stale(self):
        assert denied(self.named(TEN + b"x\n", self.HUNK), {"x.txt": TEN}).code == "stale-context"

    def test_without_evidence_are_stale(self):
        assert refused(self.HUNK, TEN) == "stale-context"
        assert refused(b"@@ -0,0 +1 @@\n+n\n", TEN) == "stale-context"
        assert denied(self.named(TEN, self.HUNK, 4), {"x.txt": TEN}).code == "stale-context"

    def test_beyond_the_end_are_stale(self):
        assert denied(self.named(TEN, b"@@ -11,0 +12 @@\n+n\n"), {"x.txt": TEN}).code == "stale-context"

    def test_after_a_line_without_newline_are_stale(self):
        assert denied(self.named(b"a", b"@@ -1,0 +2 @@\n+n\n"), {"x.txt": b"a"}).code == "stale-context"


class TestNewPaths:
    @pytest.mark.parametrize(
        ("path", "before", "tree", "code"),
        [
            (b"x.txt", {"x.txt": b"one\n"}, (), "file-exists"),
            (b"x.txt", {"x.txt": b""}, (), "file-exists"),
            (b"x.txt", {}, ("x.txt",), "file-exists"),
            (b"link", {}, ("link",), "file-exists"),
            (b"x.txt/y", {"x.txt": b""}, (), "path-conflict"),
            (b"x.txt/y/z", {}, ("x.txt",), "path-conflict"),
            (b"link/y", {}, ("link",), "path-conflict"),
            (b"src", {}, ("src/a.py",), "path-conflict"),
            (b"src/deep", {}, ("src/deep/er/a.py",), "path-conflict"),
            (b"X.txt", {"x.txt": b""}, (), "case-collision"),
            (b"x.txt", {}, ("X.TXT",), "case-collision"),
            (b"Src/b.py", {}, ("src/a.py",), "case-collision"),
            (b"SRC", {}, ("src/a.py",), "case-collision"),
            (b"src/A.py/b", {}, ("src/a.py",), "case-collision"),
            ("caf\u00e9".encode(), {}, ("cafe\u0301",), "case-collision"),
        ],
    )
    def test_a_path_that_is_not_free_is_refused_for_a_new_and_for_a_renamed_file(self, path, before, tree, code):
        assert denied(NEW.replace(b"%s", path), before, tree=tree).code == code
        rename = RENAME.replace(b"x.txt", b"old.txt").replace(b"y.txt", path)
        assert denied(rename, {**before, "old.txt": b"1"}, tree=tree).code == code

    @pytest.mark.parametrize(
        ("path", "tree"),
        [
            (b"src/b.py", ("src/a.py",)),
            (b"src/b.py", ("src/a.py", "SRC/a.py")),
            (b"srcs", ("src/a.py",)),
            (b"sr", ("src/a.py",)),
            (b"src.py", ("src/a.py",)),
        ],
    )
    def test_a_free_path_is_taken(self, path, tree):
        assert after(NEW.replace(b"%s", path), {}, tree=tree) == {path.decode(): b"one\n"}

    def test_two_new_folders_that_differ_in_case_collide(self):
        patch = NEW.replace(b"%s", b"Lib/a") + NEW.replace(b"%s", b"lib/b")
        assert denied(patch, {}).code == "case-collision"

    def test_a_deleted_file_does_not_make_room_for_a_folder(self):
        assert parse_patch(GONE + NEW.replace(b"%s", b"x.txt/y")).code == "path-conflict"

    def test_an_emptied_folder_does_not_make_room_for_a_file(self):
        patch = GONE.replace(b"x.txt", b"d/x.txt") + NEW.replace(b"%s", b"d")
        assert parse_patch(patch).code == "path-conflict"


class TestNoOps:
    def test_a_line_replaced_by_itself_changes_nothing(self):
        assert refused(b"@@ -1 +1 @@\n-a\n+a\n", b"a\n") == "no-op-change"

    def test_one_file_of_several_that_does_not_change_is_refused(self):
        patch = NAMES + FIVE_TO_SEVEN + b"--- a/y\n+++ b/y\n@@ -1 +1 @@\n-a\n+a\n"
        assert denied(patch, {"x.txt": TEN, "y": b"a\n"}).code == "no-op-change"


class TestBounds:
    def test_files_above_the_limit_are_not_patched(self):
        content = b"line 5\n" + b"x" * MAX_PATCHED_BYTES
        assert refused(FIVE_TO_SEVEN, content) == "base-too-large"

    def test_the_limit_is_for_all_files_together(self):
        half = b"x" * (MAX_PATCHED_BYTES // 2 + 1)
        patch = NAMES + FIVE_TO_SEVEN
        files = {"x.txt": half, "y.txt": half}
        assert denied(patch + patch.replace(b"x.txt", b"y.txt"), files).code == "base-too-large"

    @pytest.mark.timeout(20)
    def test_many_shifted_hunks_in_a_large_file_run_into_the_search_limit(self):
        hunks = b"".join(
            b"@@ -%d,3 +%d,3 @@\n k%d\n-m\n+M\n n\n" % (9 * n, 9 * n, n) for n in range(1, MAX_DIFF_HUNKS + 1)
        )
        body = b"".join(b"k%d\nm\nn\n" % n for n in range(1, MAX_DIFF_HUNKS + 1))
        content = b"x\n" * (MAX_PATCHED_BYTES // 2 - len(body)) + body
        assert refused(hunks, content) == "search-too-large"

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("unit", [b"a\n", b"\n", b"ba\n", b"a\nb\n"])
    def test_periodic_contents_do_not_blow_up(self, unit):
        lines = (unit * (400_000 // len(unit))).split(b"\n")[:-1]
        body = b"".join(b" " + line + b"\n" for line in lines)
        hunk = b"@@ -1,%d +1,%d @@\n+new\n" % (len(lines), len(lines) + 1) + body
        assert refused(hunk.replace(b"@@ -1,", b"@@ -5,"), unit * 1_000_000) == "ambiguous-place"

    @pytest.mark.timeout(20)
    def test_the_most_hunks_at_their_lines_are_quick(self):
        hunks = b"".join(
            b"@@ -%d +%d @@\n-line\n+LINE\n" % (number, number) for number in range(3, 2 * MAX_DIFF_HUNKS + 3, 2)
        )
        assert modified(hunks, b"line\n" * 1_000_000).count(b"LINE") == MAX_DIFF_HUNKS
