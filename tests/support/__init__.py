"""What the tests, the benchmarks and the soak run share: private servers, subprocesses and waiting."""
