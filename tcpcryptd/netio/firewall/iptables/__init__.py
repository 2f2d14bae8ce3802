"""The rules as iptables has them, in the mangle table, where rules of others are as well."""
