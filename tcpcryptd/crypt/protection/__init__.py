"""What an open connection's segments become."""
