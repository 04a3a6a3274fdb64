"""Several people on one project: responses, assignments, leases, review rules, comparison, time line."""
