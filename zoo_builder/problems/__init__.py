"""Problems that networks are trained for: their data, training and verification."""
