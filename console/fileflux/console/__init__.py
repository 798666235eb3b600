"""Operators: web page, admin API, command line, the whole system on one machine."""
