"""Which photo comes next: the queue, query strategies, and the random sample."""
