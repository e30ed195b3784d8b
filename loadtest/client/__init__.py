"""The Python client under faults: carts that are paid whatever happens to gateways, networks and processes."""
