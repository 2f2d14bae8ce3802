"""The rules as nft has them, in a table of our own."""
