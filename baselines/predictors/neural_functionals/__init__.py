"""Neural functionals: networks on weights that know which neurons are interchangeable (arXiv:2302.14040)."""
