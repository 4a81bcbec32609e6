"""What needs real servers and processes: private RabbitMQ, PostgreSQL and Redis, supervised processes, a TCP proxy.

For integration tests, benchmarks and examples, on Linux. Nothing here needs Django.
"""
