"""`dsva doctor`: whether a machine, or the nodes of a cluster, can do what a run needs, and if not, how to mend it."""
