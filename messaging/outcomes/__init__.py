"""The durable action of every outcome: one file each, applied in one place, whichever path a delivery came by.

===========  ===================================================  ================================
outcome      durable action                                      file
===========  ===================================================  ================================
PROCESSED    settled; its effects are in the same transaction    processed
DUPLICATE    none: it is settled already, or another's           (nothing to do)
HELD         waits in the log for its predecessor, or a resume   held
QUARANTINED  waits, and all behind it, for a person              quarantined
LEASED       a lease with a fencing token                        leased
RETRY        due again later                                     retry
DEAD         a dead letter; its workflow parks or goes on        dead
CANCELLED    settled; its workflow has ended                     ended
EXPIRED      settled; it came too late                           ended
REJECTED     a dead letter without a delivery                    rejected
===========  ===================================================  ================================
"""

from messaging.outcomes.announcing import subscribe
from messaging.outcomes.applying import apply
from messaging.outcomes.decision import Applied, Decision, Failure
from messaging.outcomes.failing import fail

__all__ = ["Applied", "Decision", "Failure", "apply", "fail", "subscribe"]
