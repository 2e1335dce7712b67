"""Names of the minibatch estimators of the total correlation; imports without torch.

`vaepipe.models.total_correlation` has what each computes.
"""

CORRECT = ("mss", "mss-chen", "mws")
AS_RELEASED = ("mss-released", "mss-joint-weighted")
"""Not correct: they reproduce what published code computes."""
