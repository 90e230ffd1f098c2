"""The fast engine: the same cores, spikes and counts as `chipsim.engine.machine`, 64 images at a time in machine code.

merge        sources that provably behave alike become one value; cores become small matrices
plan         a core's matrix as additions and subtractions of rows
straight     ... written out as code, where many cores share it
kernels      ... or walked as lists; firing, counting, encoding: the rest of the machine code
native       LLVM makes it, a directory keeps it
encoder      thresholds of the encoder, so that onnxruntime only runs its linear part
worker       one worker's memory, and a batch from pixels to potentials
engine       what all workers share, loaded and compiled
"""
