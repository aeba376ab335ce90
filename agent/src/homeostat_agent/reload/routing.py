"""What cannot be tried on a share of the calls, in the words of the plan and of the process alike."""

LOOKS_AT_FRAMES = frozenset({"_getframe", "currentframe", "_current_frames"})
SEES_FRAMES = "it looks at the frames that called it, and a canary's calls have one more"
CACHED = "a cache is in front of it, which would mix results of both arms"
BOTH_ARMS = "code that did not change uses it, and would meet it on both arms"
NOTHING_TO_ROUTE = "no function changed, so nothing can be sent to a share of the calls"
NO_ARM = "its defaults changed, and a function has one set of them for both arms"
ONE_VALUE = "a constant has one value for both arms"
ONE_MODULE = "a statement of the module runs once, for both arms"
ONE_CLASS = "a class has one set of bases for both arms"
ONE_SHAPE = "a function has one signature for both arms"
