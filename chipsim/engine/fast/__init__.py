"""The fast engine: the cores, spikes and counts of `chipsim.engine.machine`, 64 or 512 images at a time in machine code.

values       sources that provably behave alike become one value, and values that listeners add up alike one bundle
maxima       ... and cores of a max pool the largest of their values
merge        cores become small matrices
units        cores that take the same values are added up together
programs     decides how a core's matrix is added up, 64 images at a time:
straight     ... written out as code, where many cores share it and it is sparse
lookup       ... by lookups of bytes (`lookup_kernel`), where it is dense
products     ... and by multiplying rows of more bits (`product_kernel`), with the instructions that there are
tiles        ... or all rows of a dense matrix tile by tile (`tile_kernel`), where the processor has AMX
plan         ... or as a list of rows
kernels      walking lists, encoding, and `run`, which calls the others (``..._kernel``): the rest of the machine code
native       LLVM makes it, a directory keeps it
kept         ... and what was found of a mapping
encoder      thresholds of the encoder, so that onnxruntime only runs its linear part
pixels       ... or nothing: a linear part of whole numbers runs like cores whose rows are pixels
dots         ... or in one pass (`dot_kernel`)
planes       ... or how sums of bits are, 512 images at a time (`plane_tables`, `adder_kernel`, `plane_kernel`,
             `plane_worker`)
losses       which spikes of the chip's layers are sent; `draw_kernel` draws, from the numbers of `philox_kernel`
presenting   the encoder, as one worker runs it
worker       one worker's memory, and a batch from pixels to potentials
engine       what all workers share, loaded and compiled
"""
