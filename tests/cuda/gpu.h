#pragma once

#include "core/backend.h"
#include "tests/support/catch.h"

// The tests of this folder run on whatever device CUDA shows: a GPU, or the emulation of one
// (tests/cuda_emu) in the program that is linked with it.
namespace muonlab::test {

inline const Device kGpu{DeviceKind::cuda, 0};

/// Ends a test where there is no GPU, and says so; ctest then counts the file as skipped.
#define MUONLAB_NEEDS_GPU()                        \
  if (accelerators().empty()) {                    \
    WARN("skipped: there is no GPU to test with"); \
    return;                                        \
  }                                                \
  static_cast<void>(0)

/// While it lives, the GPU computes in bf16.
class InBf16 {
 public:
  InBf16() { backend_of(kGpu).set_precision(Precision::bf16); }
  ~InBf16() { backend_of(kGpu).set_precision(Precision::f32); }
  InBf16(const InBf16&) = delete;
  InBf16& operator=(const InBf16&) = delete;
};

}  // namespace muonlab::test
