"""The two streams of an encrypted connection, and the packets that carry them."""
