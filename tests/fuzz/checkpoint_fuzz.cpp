// libFuzzer entry: any bytes are either a valid tensor file or a FormatError.
//
//   cmake --preset fuzz && cmake --build --preset fuzz
//   build/fuzz/tests/checkpoint_fuzz -max_total_time=600 /tmp/corpus tests/fuzz/corpus
//
// New findings go to the first folder; one small file for each that was mended belongs in
// tests/fuzz/corpus, which the tests of core/checkpoint.h run.
#include <cstddef>
#include <cstdint>

#include "core/checkpoint.h"
#include "core/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    muonlab::check_tensor_header({data, size});
  } catch (const muonlab::FormatError&) {
  }
  return 0;
}
