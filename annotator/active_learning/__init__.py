"""Selection of the next photo: the queue, query strategies, and the random sample."""
