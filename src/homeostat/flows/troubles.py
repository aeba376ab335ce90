"""What the hub could not do of late, for `/health/ready`, `homeostat status` and `homeostat doctor`."""

from collections.abc import Collection
from dataclasses import dataclass, field

from homeostat.core.errors import HomeostatError
from homeostat.core.ids import ProposalId


@dataclass(slots=True)
class Troubles:
    """The last failure of each activity in the background, until it succeeds or nobody will try it again.

    Safe to use from several threads.
    """

    last: dict[str, str] = field(default_factory=dict)
    """What to tell of each activity that failed, by its name."""

    _flows: dict[str, ProposalId] = field(default_factory=dict)

    _put_off: dict[str, tuple[int, int]] = field(default_factory=dict)
    """By activity: the beat before which it is not tried again, and how many beats that was put off."""

    def is_due(self, activity: str, beat: int) -> bool:
        """Tell whether an activity is to be tried at this beat, if it has failed before."""
        return beat >= self._put_off.get(activity, (0, 0))[0]

    def put_off(self, activity: str, beat: int, *, most: int) -> None:
        """Where an activity has just failed, let it rest for twice as many beats as before, `most` at the most."""
        if activity not in self.last:
            self._put_off.pop(activity, None)
            return
        beats = min(2 * self._put_off.get(activity, (0, 1))[1], most)
        self._put_off[activity] = (beat + beats, beats)

    def note(self, activity: str, text: str) -> bool:
        """Note a failure; return whether it is another one than this activity failed with before."""
        is_new = self.last.get(activity) != text
        self.last[activity] = text
        return is_new

    def note_error(self, activity: str, error: Exception) -> bool:
        """Note what a person needs to know of an error, as `note` does: our own say how to mend it, too."""
        hint = error.hint if isinstance(error, HomeostatError) else None
        text = str(error) if isinstance(error, HomeostatError) else f"{type(error).__name__}: {error}"
        return self.note(activity, f"{text} ({hint})" if hint else text)

    def clear(self, activity: str) -> None:
        self.last.pop(activity, None)

    def note_flow(self, name: str, proposal_id: ProposalId, error: Exception | None) -> None:
        """Note how a flow of a proposal ended: with this error, or well."""
        activity = f"{name} {proposal_id}"
        if error is None:
            self.clear(activity)
        else:
            self._flows[activity] = proposal_id
            self.note_error(activity, error)

    def settle(self, under_way: Collection[ProposalId]) -> None:
        """Forget flows of proposals that are not under way any more: whoever moved the row on ended their trouble."""
        for activity, proposal_id in tuple(self._flows.items()):
            if proposal_id not in under_way:
                self._flows.pop(activity, None)
                self.clear(activity)
