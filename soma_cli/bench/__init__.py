"""soma's own speed, each figure beside a bare baseline measured in the same run. See `soma bench`."""
