"""In which order several modules run their statements again, and whom a new object reaches beyond them."""

import importlib
import itertools
import sys

import pytest
from homeostat_agent.firstseen import FirstSeen
from homeostat_agent.reload import Change, Module, Reloader

COUNTED = "def count():\n    return {number}\n\nTOTAL = count()\n"


@pytest.fixture
def edited(host):
    """Load modules of the host as they are given first, and swap all of them at once to what is given then."""
    seen = FirstSeen()
    host.reloader = Reloader(str(host.root), patience_s=0.3, seen=seen)

    def swap(before, after, *, order):
        texts = [{name: text.replace("HOST", host.package) for name, text in side.items()} for side in (before, after)]
        for name, text in texts[0].items():
            host.write(name, text)
        importlib.invalidate_caches()
        modules = {name: importlib.import_module(f"{host.package}.{name}") for name in order}
        if "__init__" in texts[0]:
            importlib.reload(sys.modules[host.package])
        seen.note()
        for name, text in texts[1].items():
            host.write(name, text)
        parts = tuple(Module(host.path(name), texts[0][name], text) for name, text in texts[1].items())
        return modules, host.reloader.swap(Change("change", parts, "aggressive"))

    return swap


@pytest.mark.parametrize("order", list(itertools.permutations(["shop", "stock"])))
@pytest.mark.parametrize(
    "uses",
    [
        "from .stock import TOTAL\nSUM = TOTAL + len('bb')\n",
        "from . import stock\nSUM = stock.TOTAL + len('bb')\n",
        "import HOST.stock\nSUM = HOST.stock.TOTAL + len('bb')\n",
        "def total():\n    from HOST import stock\n    return stock.TOTAL\n\nSUM = total() + len('bb')\n",
    ],
)
def test_what_a_module_newly_imports_is_there_before_its_statements_run(edited, host, uses, order):
    """Whichever of them the process loaded first: that says what the old source imported."""
    key = "def key():\n    return 1\n\n"
    old = uses.partition("SUM")[0] if "def" in uses else ""
    before = {"shop": f"{key}{old}SUM = len('b')\n", "stock": COUNTED.format(number=1)}
    modules, outcome = edited(before, {"shop": key + uses, "stock": COUNTED.format(number=10)}, order=order)
    assert outcome.outcome == "swapped", outcome.detail
    assert (modules["stock"].TOTAL, modules["shop"].SUM) == (10, 12)
    assert host.reloader.rollback("change").outcome == "swapped"
    assert (modules["stock"].TOTAL, modules["shop"].SUM) == (1, 1)


@pytest.mark.parametrize("order", list(itertools.permutations(["shop", "between", "stock"])))
def test_a_module_that_did_not_change_may_stand_between_two_that_did(edited, order):
    between = "from . import stock\n\ndef total():\n    return stock.TOTAL\n"
    before = {"shop": "SUM = len('b')\n", "between": between, "stock": COUNTED.format(number=1)}
    after = {"shop": "from .between import total\nSUM = total() + len('bb')\n", "stock": COUNTED.format(number=10)}
    modules, outcome = edited(before, after, order=order)
    assert outcome.outcome == "swapped", outcome.detail
    assert modules["shop"].SUM == 12


def test_imports_inside_functions_give_way_where_they_lead_round_in_a_circle(edited):
    late = "def late():\n    from . import shop\n    return shop\n\n"
    before = {"shop": "from . import stock\nSUM = stock.TOTAL\n", "stock": late + COUNTED.format(number=1)}
    after = {"shop": "from . import stock\nSUM = stock.TOTAL * 2\n", "stock": late + COUNTED.format(number=10)}
    modules, outcome = edited(before, after, order=["stock", "shop"])
    assert outcome.outcome == "swapped", outcome.detail
    assert modules["shop"].SUM == 20


def test_modules_that_import_each_other_at_import_are_refused_with_both_named(edited, host):
    before = {
        "shop": "A = len('a')\nfrom . import stock\nC = stock.B + len('c')\n",
        "stock": "from . import shop\nB = shop.A + len('b')\n",
    }
    after = {name: text.replace("len('", "len('xyz") for name, text in before.items()}
    modules, outcome = edited(before, after, order=["shop", "stock"])
    assert outcome.outcome == "restart_required"
    assert "import each other" in outcome.detail
    assert f"`{host.package}.shop`" in outcome.detail and f"`{host.package}.stock`" in outcome.detail
    assert (modules["shop"].A, modules["stock"].B, modules["shop"].C) == (1, 2, 3)


def test_who_got_a_name_from_a_package_that_handed_it_on_gets_the_new_object(edited, host):
    """A package hands on what its modules have, under another name even; it did not change."""
    before = {
        "__init__": "from .stock import TABLE\n",
        "stock": "TABLE = [len('a')]\n",
        "between": "from HOST import TABLE as KNOWN\n",
        "shop": "from .between import KNOWN\n\ndef table():\n    return KNOWN\n",
    }
    after = {"stock": "TABLE = [len('aa')]\n"}
    modules, outcome = edited(before, after, order=["stock", "between", "shop"])
    assert outcome.outcome == "swapped", outcome.detail
    assert modules["shop"].table() is modules["stock"].TABLE is sys.modules[host.package].TABLE
    assert modules["stock"].TABLE == [2]
    assert host.reloader.rollback("change").outcome == "swapped"
    assert modules["shop"].table() is modules["stock"].TABLE is modules["between"].KNOWN
    assert modules["stock"].TABLE == [1]
