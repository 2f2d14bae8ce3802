"""The key exchange in the first segments, and its states."""
