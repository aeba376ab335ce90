"""Whole proofs of a real repository, in every kind of sandbox."""

import shutil
from collections.abc import Iterator

import pytest
from sandbox_runs import Shop, open_folder, python_for, require

from homeostat.adapters.sandbox.spec import Kind
from homeostat.core.errors import NotFound
from homeostat.core.ids import CommitId
from homeostat.model.proof import ProofVerdict
from homeostat.validation.compare import judge_proof
from homeostat.worker.proving import prove

ONE, TWO = "test_price.T.test_one", "test_price.T.test_two"


@pytest.fixture(params=list(Kind), scope="module")
def kind(request) -> Kind:
    require(request.param)
    return request.param


@pytest.fixture(scope="module")
def shop(kind) -> Iterator[Shop]:
    """One repository for all tests of a kind: they add commits to it and change nothing else."""
    folder = open_folder()
    yield Shop(folder / "shop", python=python_for(kind))
    shutil.rmtree(folder)


@pytest.fixture
def own_shop(kind) -> Iterator[Shop]:
    """A repository whose environment a test may change."""
    folder = open_folder()
    yield Shop(folder / "shop", python=python_for(kind))
    shutil.rmtree(folder)


def verdict_on(shop: Shop, kind: Kind, **changes):
    runs = prove(shop.job(**changes), [kind])
    return judge_proof(runs, changed_python=True, policy=(), duration_ms=1)


def test_a_mended_defect_is_proved_and_the_fixed_test_named(shop, kind):
    report = verdict_on(shop, kind)
    assert report.verdict is ProofVerdict.PASSED, report
    assert report.fixed_tests == (TWO,)
    assert report.sandbox == kind.value
    assert report.base.outcomes == {ONE: "passed", TWO: "failed"}
    assert report.candidate.ran_from_candidate is True


def test_pytest_is_followed_too(own_shop, kind):
    own_shop.install_pytest()
    report = verdict_on(own_shop, kind, test_command=("python", "-m", "pytest", "-q", f"{own_shop.root}/tests"))
    assert report.verdict is ProofVerdict.PASSED, report
    assert report.fixed_tests == ("tests/test_price.py::T::test_two",)


def test_a_change_that_breaks_a_test_fails(shop, kind):
    candidate = shop.change(**{"src/shop/price.py": "def price(n):\n    return 6\n"})
    report = verdict_on(shop, kind, candidate=candidate)
    assert (report.verdict, report.broken_tests) == (ProofVerdict.FAILED, (ONE,))


def test_a_change_that_hangs_fails(shop, kind):
    candidate = shop.change(**{"src/shop/price.py": "import time\ntime.sleep(600)\n"})
    report = verdict_on(shop, kind, base=shop.candidate, candidate=candidate, timeout_s=3.0)
    assert report.verdict is ProofVerdict.FAILED
    assert report.candidate.timed_out


def test_a_change_that_leaves_by_the_side_door_is_never_a_pass(shop, kind):
    candidate = shop.change(**{"src/shop/price.py": "import os\nos._exit(0)\n"})
    report = verdict_on(shop, kind, candidate=candidate)
    assert report.verdict is not ProofVerdict.PASSED
    assert report.candidate.exit_code == 0
    assert report.candidate.problem


def test_an_installed_copy_of_the_host_is_noticed(own_shop, kind):
    (own_shop.packages / "shop.pth").unlink()
    shutil.copytree(own_shop.root / "src" / "shop", own_shop.packages / "shop")
    report = verdict_on(own_shop, kind, base=own_shop.candidate, candidate=own_shop.base)
    assert report.verdict is ProofVerdict.INCONCLUSIVE
    assert report.candidate.ran_from_candidate is False


def test_a_changed_module_that_no_test_loads_is_inconclusive(shop, kind):
    candidate = shop.change(
        **{"src/shop/price.py": "def price(n):\n    return 3 * n\n", "src/shop/other.py": "x = 1\n"}
    )
    report = verdict_on(shop, kind, candidate=candidate, changed_modules=("src/shop/other.py",))
    assert report.verdict is ProofVerdict.INCONCLUSIVE
    assert report.candidate.ran_from_candidate is None


def test_a_command_without_single_tests_is_judged_by_exit_code_and_probe(shop, kind):
    command = ("python", "-c", "from shop.price import price; raise SystemExit(price(2) != 6)")
    report = verdict_on(shop, kind, test_command=command)
    assert report.verdict is ProofVerdict.PASSED
    assert (report.base.exit_code, report.candidate.exit_code) == (1, 0)
    assert report.candidate.outcomes == {}


def test_a_command_that_does_nothing_proves_nothing(shop, kind):
    assert verdict_on(shop, kind, test_command=("true",)).verdict is ProofVerdict.INCONCLUSIVE


def test_a_runner_that_finds_no_test_proves_nothing(shop, kind):
    report = verdict_on(shop, kind, test_command=("python", "-m", "unittest", "discover", "-s", "src"))
    assert report.verdict is ProofVerdict.INCONCLUSIVE


def test_output_is_cleaned_and_shows_paths_in_the_repository_only(shop, kind):
    text = "def price(n):\n    print('mail a.person@example.org password=hunter2hunter2')\n    raise ValueError\n"
    report = verdict_on(shop, kind, candidate=shop.change(**{"src/shop/price.py": text}))
    output = report.candidate.output_tail
    assert 'File "src/shop/price.py"' in output
    assert "example.org" not in output
    assert "hunter2" not in output
    assert str(shop.root) not in output


def test_the_users_repository_and_environment_are_untouched(shop, kind):
    before = shop.git("status", "--porcelain", "--ignored"), shop.git("rev-parse", "HEAD")
    attack = (
        "import os, pathlib, sys\n"
        f"for place in ({str(shop.root)!r}, sys.prefix, {str(shop.packages)!r}):\n"
        "    for name in ('planted.py', '.git/planted', 'tests/planted.py'):\n"
        "        try: pathlib.Path(place, name).write_text('x')\n"
        "        except OSError: pass\n"
        "def price(n): return 3 * n\n"
    )
    verdict_on(shop, kind, candidate=shop.change(**{"src/shop/price.py": attack}))
    assert (shop.git("status", "--porcelain", "--ignored"), shop.git("rev-parse", "HEAD")) == before
    assert not list(shop.root.rglob("planted*"))


def test_the_state_folder_is_not_there(shop, kind):
    text = (
        "import unittest, os\nclass T(unittest.TestCase):\n    def test_a(self):\n"
        f"        with self.assertRaises(OSError): os.listdir({str(shop.root / '.homeostat')!r})\n"
        f"        with self.assertRaises(OSError): open({str(shop.root / '.homeostat/keys/owner.token')!r})\n"
        "        import shop.price\n"
    )
    candidate = shop.change(**{"tests/test_state.py": text, "src/shop/price.py": "def price(n): return 3 * n\n"})
    assert verdict_on(shop, kind, candidate=candidate).verdict is ProofVerdict.PASSED


@pytest.mark.parametrize("python", ["/no/such/python", "/bin/true"])
def test_an_interpreter_that_is_none_is_refused_with_the_remedy(shop, kind, python):
    report = verdict_on(shop, kind, python=python)
    assert report.verdict is ProofVerdict.INCONCLUSIVE
    assert "host.python" in report.reasons[0]


def test_a_candidate_that_puts_a_link_where_the_environment_lives_is_refused():
    require(Kind.NAMESPACES)
    folder = open_folder()
    try:
        shop = Shop(folder / "shop")
        shop.git("checkout", "--quiet", "--detach")
        (shop.root / ".venv").rename(folder / "venv")
        (shop.root / ".venv").symlink_to("/etc")
        shop.git("add", "--force", ".venv")
        shop.git("commit", "--quiet", "--message", "x")
        candidate = CommitId(shop.git("rev-parse", "HEAD"))
        (shop.root / ".venv").unlink()
        (folder / "venv").rename(shop.root / ".venv")
        runs = prove(shop.job(candidate=candidate), [Kind.NAMESPACES])
        assert runs.base is not None
        assert runs.candidate is None
        assert "Python lives" in runs.refused
    finally:
        shutil.rmtree(folder)


def test_a_commit_that_is_not_there_is_not_found(shop, kind):
    with pytest.raises(NotFound):
        prove(shop.job(candidate=CommitId("0" * 40)), [kind])


def test_no_allowed_kind_is_a_refusal(shop, kind):
    runs = prove(shop.job(), [])
    assert (runs.base, runs.candidate, runs.sandbox) == (None, None, "")
    assert runs.refused
