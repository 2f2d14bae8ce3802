"""What is told of connections and hosts, from the core to whoever asks, and what applications can choose."""
