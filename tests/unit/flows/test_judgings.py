from homeostat.flows.judgings import Judgings


def test_what_detectors_said_of_a_hundred_held_changes_is_not_counted_anew_at_each_look():
    judgings, asked = Judgings(), []

    def look_at_all():
        for number in range(100):
            assert judgings.said(("held", number), lambda: asked.append(1) or ()) == ()

    look_at_all()
    look_at_all()
    assert len(asked) == 100


def test_what_was_said_of_other_evidence_is_no_answer():
    judgings = Judgings()
    assert judgings.said("old", lambda: ("said of it",)) == ("said of it",)
    assert judgings.said("new", lambda: ()) == ()
    assert judgings.said("old", lambda: ("asked again",)) == ("said of it",)
