"""What all policies share: targetRef, selection, rule building, merging and the contract of a policy."""
