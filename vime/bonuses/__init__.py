"""One file per bonus; the table of their names stands in `vime.bonus`."""
