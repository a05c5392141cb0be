"""The version of bertie: the only place that names it, so that every other file may import it."""

VERSION = "0.1.0"
