"""What may go wrong between a publisher and its store, on purpose and at every call."""
