"""Train on rows of Parquet shards without a store: the shards, their columns, and the batches."""
