"""A module whose functions are shadowed in a small host, for the tests of that."""

from agents_harness import wait_for
from homeostat_agent.canary.switch import Terms


class Shadowed:
    """A module one of whose functions (or more) is shadowed, and what was found so far."""

    def __init__(self, host, clock, old, new, *functions):
        self.host, self.clock = host, clock
        self.module = host.load("m", old)
        self.change = host.change("m", old, new)
        self.path = host.path("m")
        names = frozenset(f"{self.path}:{name}" for name in functions or ("f",))
        outcome = host.reloader.canary(self.change, Terms(0, None, 3600.0, names))
        assert outcome.outcome == "swapped", outcome
        (self.switch,) = host.reloader.canaries
        self.found = {}
        self.seconds = {False: 0.0, True: 0.0}

    def take(self):
        for report in self.host.reloader.take_reports():
            if report.shadow is not None:
                for (function, outcome, detail), count in report.shadow.found.items():
                    key = (function.removeprefix(f"{self.path}:"), outcome, detail)
                    self.found[key] = self.found.get(key, 0) + count
                for arm, seconds in report.shadow.seconds.items():
                    self.seconds[arm] += seconds
        return self.found

    def wait_for(self, calls):
        """Wait until so many calls were compared; return what was found."""

        def enough():
            self.host.reloader.give_back_lapsed()  # what the agent's thread does at each of its turns
            return sum(self.take().values()) >= calls

        wait_for(enough)
        wait_for(lambda: not self.runs)
        self.clock.pass_s(10)  # it rests after each
        return self.found

    @property
    def runs(self):
        """Whether the thread is at a call."""
        return self.switch.shadow._job is not None

    def call(self, *given, **named):
        """Call `f` and wait until that was compared; return what the caller got, and what was found of it."""
        self.found = {}
        try:
            got = self.module.f(*given, **named)
        except Exception as error:
            got = error
        ((_, outcome, detail),) = self.wait_for(1)
        return got, outcome, detail


def body(text):
    return f"import decimal, time\ndef helper(x):\n    return x\ndef f(x, /, y=2, *rest, k=1, **more):\n    {text}\n"
