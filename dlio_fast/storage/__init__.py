"""Where bytes come from: addresses, lists of files, and reads through the ring."""
