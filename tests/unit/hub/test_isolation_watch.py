"""That no sandbox holds is shown for as long as it is so, and no longer."""

import threading

from homeostat.core.errors import Unavailable
from homeostat.flows.troubles import Troubles
from homeostat.hub.isolation_watch import IsolationWatch
from homeostat.testing.fake_prover import FakeProver

WITHIN_S = 60.0


class Scripted(FakeProver):
    """Answers in order whether something holds; what was shown when it was asked is kept."""

    def __init__(self, troubles, *answers):
        super().__init__()
        self.shown = []
        self.asked_for_all = threading.Event()
        self._troubles = troubles
        self._script = list(answers)

    def holds(self):
        self.shown.append(dict(self._troubles.last))
        answer = self._script.pop(0)
        if not self._script:
            self.asked_for_all.set()
        if isinstance(answer, Exception):
            raise answer
        return answer


def watch(*answers):
    troubles = Troubles()
    prover = Scripted(troubles, *answers)
    watching = IsolationWatch(prover, troubles, first_pause_s=0.001)
    watching.start()
    assert prover.asked_for_all.wait(WITHIN_S)
    watching.close()
    return prover.shown, troubles.last


def test_where_a_sandbox_holds_nothing_is_shown_and_it_is_asked_once():
    assert watch(True) == ([{}], {})


def test_a_self_test_that_died_is_made_again_and_its_trouble_ends_when_a_sandbox_holds():
    shown, left = watch(Unavailable("worker-died", "the worker ended with 1"), False, True)
    assert "the worker ended with 1" in shown[1]["isolation"]
    assert "no sandbox holds here" in shown[2]["isolation"]
    assert left == {}


def test_it_ends_at_once_however_long_it_would_have_waited():
    watching = IsolationWatch(Scripted(Troubles(), False), Troubles(), first_pause_s=10 * WITHIN_S)
    watching.start()
    watching.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "homeostat-isolation"]
