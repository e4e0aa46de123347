"""kuma-demo: a whole mesh on one machine in one command, for somebody who has never seen one.

It starts the programs a user would start, tells the control plane what a user would tell it, and shows what happens.
It looks into none of them: what it knows it learns from their ports, as everybody else does.
"""
