"""What a change may be: rules over it, and the policy in force. Pure."""

from homeostat.policy.check import PolicyDecision, check_change
from homeostat.policy.patch_check import check_patch

__all__ = ["PolicyDecision", "check_change", "check_patch"]
