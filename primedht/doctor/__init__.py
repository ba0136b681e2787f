"""The checks behind `primedht doctor`: of the machine, of a node and its network, and without a daemon."""
