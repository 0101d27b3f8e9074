"""What a run will need before it runs: memory and computation, counted on a model without weights."""
