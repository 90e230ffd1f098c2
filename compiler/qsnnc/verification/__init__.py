"""Check the integer network against the ONNX model, layer by layer, without a chip."""

from qsnnc.verification.compare import inexact, random_images, verify
from qsnnc.verification.explain import Mismatch
from qsnnc.verification.reproduce import Reproduction
from qsnnc.verification.result import Verification

__all__ = ["Mismatch", "Reproduction", "Verification", "inexact", "random_images", "verify"]
