"""A TCP proxy between the stack's processes, whose connections can be made to fail in every way."""
