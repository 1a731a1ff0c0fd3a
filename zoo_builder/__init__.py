"""Trains thousands of small networks over hyperparameter grids and stores them as Parquet tables and tensor shards."""
