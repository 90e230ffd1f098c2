"""Which instructions a processor has for dense sums, by the feature that brings them, the best first."""

from __future__ import annotations

from dataclasses import dataclass

#: what looks up bytes in a table of 16: lanes, name. A table is spread over 256 bits as it is loaded, at no cost; over 512
#: bits that takes as long as the lookup (Zen 4)
LOOKUPS = {
    "amx-int8": (32, "llvm.x86.avx2.pshuf.b"),
    "avx512vnni": (32, "llvm.x86.avx2.pshuf.b"),
    "avx512bw": (32, "llvm.x86.avx2.pshuf.b"),
    "avx2": (32, "llvm.x86.avx2.pshuf.b"),
    "ssse3": (16, "llvm.x86.ssse3.pshuf.b.128"),
    "neon": (16, "llvm.aarch64.neon.tbl1.v16i8"),
}
#: features that the code of lookups is restricted to, where there are more: instructions of AVX-512 are longer, and as slow
PLAIN = {"avx512vnni": "+avx2", "avx512bw": "+avx2"}
#: what multiplies a tile of bytes with a sign by one of bytes without, and adds the products to a tile of sums of 32 bits
TILES = {"amx-int8": "tdpbsud"}
#: what multiplies quads of bytes, the first without a sign, and adds the four products to a sum of 32 bits
DOTS = {"amx-int8": "llvm.x86.avx512.vpdpbusd.512", "avx512vnni": "llvm.x86.avx512.vpdpbusd.512"}
#: what multiplies pairs of bytes, the first without a sign, and adds the two products; saturates, which `products` rules out
PRODUCTS = {
    "avx512bw": (64, "llvm.x86.avx512.pmaddubs.w.512"),
    "avx2": (32, "llvm.x86.avx2.pmadd.ub.sw"),
    "ssse3": (16, "llvm.x86.ssse3.pmadd.ub.sw.128"),
}
#: what multiplies pairs of 16 bits and adds the two products in 32
WIDE_PRODUCTS = {
    "avx512bw": (64, "llvm.x86.avx512.pmaddw.d.512"),
    "avx2": (32, "llvm.x86.avx2.pmadd.wd"),
    "ssse3": (16, "llvm.x86.sse2.pmadd.wd"),
}
#: whose comparisons give masks of bits
MASKS = frozenset({"amx-int8", "avx512vnni", "avx512bw"})
#: bytes of a register in which `planes` adds up bits and `draw_kernel` draws; AVX-512 has instructions for any function of
#: three bits
BITS = {"amx-int8": 64, "avx512vnni": 64, "avx512bw": 64, "avx2": 32}
#: columns that are worked on at a time: as many as the registers hold
COLUMNS = {"amx-int8": 4, "avx512vnni": 4, "avx512bw": 4, "avx2": 2, "ssse3": 1, "neon": 1}


@dataclass(frozen=True, slots=True)
class Times:
    """How long things take, for 64 images, where an addition of a list takes 1."""

    product: float  # a row for a column, of pairs that stay in 16 bits
    index: float  # an index of lookups for a column, in these
    window: float  # what it takes to widen the sums of a window of indices, in these
    packed: float  # a row that is fetched and packed into indices, or brought into tiles
    copied: float  # one that a list copies
    written: float  # an addition that is written out as code: some are shared, and no row is looked for
    strand: float  # what the sums of a strand take besides in such code


_WIDE = Times(0.7, 1, 0, 12, 2, 0.55, 0)
#: as measured with AMX, AVX-512 and AVX2; the others are taken to be like AVX-512
TIMES = {
    "amx-int8": Times(0.7, 1, 0, 3, 2, 0.55, 0),
    "avx512vnni": _WIDE,
    "avx512bw": _WIDE,
    "avx2": Times(0.91, 1.16, 1.2, 2.8, 5, 0.8, 20),
    "ssse3": _WIDE,
    "neon": _WIDE,
    None: _WIDE,
}


def instruction(features: str) -> str | None:
    """Return the feature of a processor's best instructions; None if it has none that looks up bytes.

    Kernels for 256 bits and more use BMI2, which all processors with AVX2 have.
    """
    own = features.split(",")
    return next((name for name in LOOKUPS if f"+{name}" in own and (name not in BITS or "+bmi2" in own)), None)
