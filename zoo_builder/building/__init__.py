"""Builds of zoos: estimate, plan, train in workers or on a cluster, resume and verify."""
