"""Plain and encrypted TCP over networks as they are: long, slow, lossy (`make bench-paths`)."""
