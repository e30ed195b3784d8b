"""The yardstick: named runs side by side, on a stack of their own, with what each of them cost."""
