"""Changed functions behind caches: results that would stay, and caches that are emptied."""

# ruff: noqa: E501 - the tables of small sources are read line by line

import pytest
from homeostat_agent.reload.plan import plan_module
from plan_scene import verdicts

CACHES = {
    "a cached property": "from functools import cached_property\nclass A:\n    @cached_property\n    def f(self):\n        return 1",
    "a cache of a library": "import cachetools\n@cachetools.cached({})\ndef f():\n    return 1",
    "a memo": "from app import memoize\n@memoize\ndef f():\n    return 1",
    "a cached caller": "from functools import lru_cache\ndef f():\n    return 1\n@lru_cache\ndef g(x):\n    return f()",
    "a cached caller's callee": "from functools import cache\ndef f():\n    return 1\ndef h():\n    return f()\n@cache\ndef g(x):\n    return h()",
    "a memo around it": "from app import memoize\ndef f():\n    return 1\ng = memoize(f)",
    "a memo with settings around it": "from app import memoize\ndef f():\n    return 1\ng = memoize(ttl=3)(function=f)",
    "a cached property of it": "from functools import cached_property\nclass A:\n    def f(self):\n        return 1\n    g = cached_property(f)",
    "a cache around a caller": "import functools\ndef f():\n    return 1\ndef g(x):\n    return f()\nh = functools.lru_cache(maxsize=None)(g)",
    "a cache around a caller in a function": "import functools\ndef f():\n    return 1\nclass A:\n    def g(self, x):\n        return f()\n    def __enter__(self):\n        self.g = functools.lru_cache(self.g)",
    "a cached caller of a method": "from functools import cache\nclass A:\n    def f(self):\n        return 1\n@cache\ndef g(x):\n    return x.f()",
}


@pytest.mark.parametrize("name", CACHES)
def test_results_that_a_cache_would_keep_need_a_restart(name):
    source = CACHES[name] + "\n"
    assert not plan_module("m.py", source, source.replace("return 1", "return 2")).safe


@pytest.mark.parametrize("cache", ["cache", "lru_cache"])
def test_a_cache_that_will_be_emptied_stands_in_no_ones_way(cache):
    source = f"import functools\ndef f():\n    return 1\ng = functools.{cache}(f)\n"
    found = plan_module("m.py", source, source.replace("return 1", "return 2"))
    assert found.safe, found.restart_reasons


@pytest.mark.parametrize("start, end", [("called()", "1"), ("1", "called()")])
def test_what_a_cached_function_called_or_will_call_needs_a_restart(start, end):
    tail = "@cache\ndef kept():\n    return on_the_way()\n"
    old = f"def called():\n    return 1\ndef on_the_way():\n    return {start}\n{tail}"
    new = f"# moved\ndef called():\n    return 2\ndef on_the_way():\n    return {end}\n{tail}"
    assert verdicts(plan_module("m.py", old, new)) == {"called": "restart", "on_the_way": "restart"}
