"""What runs a traced program on a device.

Knows the engine's graph and operations; the engine finds it by a device's name when it is first
asked to compile. The compiled programs come with `edu.jit`.
"""
