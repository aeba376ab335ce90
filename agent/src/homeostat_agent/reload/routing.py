"""What cannot be tried on a share of the calls, in the words of the plan and of the process alike."""

LOOKS_AT_FRAMES = frozenset({"_getframe", "currentframe", "_current_frames"})
SEES_FRAMES = "it looks at the frames that called it, and a canary's calls have one more"
CACHED = "a cache is in front of it, which would mix results of both arms"
