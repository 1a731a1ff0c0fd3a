"""Recipes of zoos, as TOML files, and the tables of runs that they describe."""
