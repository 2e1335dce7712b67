"""The stages: one module per rule. A process that is started to run one hands it over where it can."""

from vaepipe.compute.hand_over import hand_over

hand_over()
