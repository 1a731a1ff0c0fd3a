"""Zoos on disk: their files, the reader, the card and the check of files."""
