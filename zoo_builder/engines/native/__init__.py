"""The CPU engine: C++ that is generated and compiled for each architecture."""
