//! Benchmarks of syntrix-storage against raw drivers.
