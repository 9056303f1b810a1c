"""A package, lest one of the same name that another project installs come first."""
