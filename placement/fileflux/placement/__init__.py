"""Where things go: the map of nodes, the policy, repair and rebalance plans."""
