#include "core/hash.h"

#include <algorithm>
#include <string>

#include "tests/support/catch.h"

using namespace muonlab;

namespace {

std::string digest(const std::string& text) {
  Sha256 h;
  h.update(text.data(), text.size());
  return h.hex();
}

}  // namespace

// Source of the digests: NIST, "Examples with intermediate values", SHA-256; FIPS 180-2 appendix B.
TEST_CASE("sha256: published digests") {
  CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("sha256: the cut into pieces does not matter") {
  const std::string text(1'000'000, 'a');
  Sha256 h;
  std::size_t piece = 1;
  for (std::size_t at = 0; at < text.size(); at += piece, piece = piece % 997 + 1)
    h.update(text.data() + at, std::min(piece, text.size() - at));
  CHECK(h.hex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
