#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "core/backend.h"
#include "core/elementwise.h"
#include "core/math.h"
#include "tests/cuda/gpu.h"
#include "tests/cuda_emu/control.h"
#include "tests/support/array.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

Tensor normal(Shape shape) { return normal_array(shape, "x").tensor(DType::f32, kGpu); }
Tensor empty(Shape shape) { return Tensor::empty(shape, DType::f32, kGpu); }

// Sizes that divide everything, so that what is counted is the pattern alone: a request of a warp
// for 32 neighbours of 4 bytes is 4 sectors of 32 bytes, and 1 wavefront in shared memory.

void attend(std::int64_t head_size, double dropout) {
  const std::int64_t time = 128, packed = 4 * head_size;
  AttentionArgs a;
  a.q = a.k = a.v = normal({1, time, packed});
  a.k_offset = 2 * head_size;
  a.v_offset = 3 * head_size;
  a.y = empty({1, time, 2 * head_size});
  a.lse = empty({1, 2, time});
  a.max_logit = empty({2});
  a.max_logit.fill(-1e9);
  a.heads = 2;
  a.kv_heads = 1;
  a.head_size = head_size;
  a.keys = time;
  a.scale = 0.1;
  a.dropout = dropout;
  Backend& gpu = backend_of(kGpu);
  gpu.attention(a);
  AttentionBackwardArgs back;
  back.forward = a;
  back.dy = normal({1, time, 2 * head_size});
  back.dq = back.dk = back.dv = empty({1, time, packed});
  gpu.attention_backward(back);
}

void run_everything() {
  Backend& gpu = backend_of(kGpu);
  const Shape rows{8, 768};
  const Tensor x = normal(rows), dy = normal(rows), w = normal({768}), b = normal({768});
  Tensor y = empty(rows), dx = empty(rows), dw = empty({768}), db = empty({768});
  const Tensor ids = random_ids({2, 4}, 50, "ids").to(kGpu);

  for (const auto act : {Activation::none, Activation::gelu}) {
    gpu.activation({.kind = act, .x = x, .y = y});
    gpu.activation_backward({.kind = act, .x = x, .dy = dy, .dx = dx, .y = y});
  }
  for (const std::int64_t head_size : {64, 128}) attend(head_size, 0);
  attend(32, 0.1);
  const Tensor logits = normal({4, 1024}), targets = random_ids({4}, 1024, "targets").to(kGpu);
  Tensor losses = empty({4}), lse = empty({4}), dlogits = empty({4, 1024});
  gpu.cross_entropy({.logits = logits, .targets = targets, .losses = losses, .lse = lse});
  gpu.cross_entropy_backward(
      {.logits = logits, .targets = targets, .lse = lse, .dlogits = dlogits, .scale = 1});
  gpu.dropout({.x = x, .y = y});
  ElementwiseBuilder f;
  f.store(1, f.column(0) * 2.0 + f.column(1));
  std::vector<ElementRow> table;
  for (int i = 0; i < 40; ++i) table.push_back({{x, normal(rows)}, {}});
  math::elementwise(f.program(), table);
  gpu.embedding({.ids = ids, .wte = normal({50, 768}), .wpe = normal({4, 768}), .y = y});
  gpu.embedding_backward({.ids = ids, .dy = dy, .dwte = empty({50, 768}), .dwpe = empty({4, 768})});
  y.fill(0);
  gpu.linear({.x = x, .w = normal({768, 768}), .bias = b, .y = y});
  {
    const InBf16 bf16;
    gpu.linear({.x = x, .w = normal({768, 768}), .y = y});
  }
  Tensor mean = empty({8}), rstd = empty({8});
  gpu.norm({.x = x, .w = w, .b = b, .y = y, .mean = mean, .rstd = rstd});
  gpu.norm_backward(
      {.x = x, .w = w, .mean = mean, .rstd = rstd, .dy = dy, .dx = dx, .dw = dw, .db = db});
  gpu.column_sum({.src = x, .dst = dw});
  const std::vector<Tensor> all(40, x);
  math::sum_squares(all);
}

const std::vector<simt::LineProfile>& profile_of_everything() {
  static const std::vector<simt::LineProfile> lines = [] {
    simt::take_profile();
    simt::config().profile = true;
    run_everything();
    simt::config().profile = false;
    return simt::take_profile();
  }();
  return lines;
}

// Searches of a table of structs, of each of which they read one word.
bool is_once_a_block(const simt::LineProfile& line) {
  for (const char* source : {"rows[r].first_chunk <= chunk", "summands[s].first_chunk <= chunk",
                             "reinterpret_cast<const std::uint32_t*>(from)[i]"})
    if (!line.shared && line.source.find(source) != std::string::npos) return true;
  return false;
}

/// Loads (or stores) of a line in a kernel, or in all of those whose names begin so.
struct Hot {
  const char *kernel, *source;
  bool shared, write;
  unsigned size;
  double per_request;
  bool is(const simt::LineProfile& line) const {
    return line.kernel.rfind(kernel, 0) == 0 && line.source.find(source) != std::string::npos &&
           line.shared == shared && line.write == write && line.size == size;
  }
};
constexpr bool kGlobal = false, kShared = true, kLoad = false, kStore = true;
const Hot kHot[] = {
    {"activation<", "Act::at(x[i])", kGlobal, kLoad, 4, 4},
    {"activation<", "y[i] = ", kGlobal, kStore, 4, 4},
    {"activation_backward<", "Act::at(x[i])", kGlobal, kLoad, 4, 4},
    {"activation_backward<", "dy[i] * at.slope", kGlobal, kLoad, 4, 4},
    {"activation_backward<", "dx[i] = gradient", kGlobal, kStore, 4, 4},
    {"add_bias", "y[i] += bias", kGlobal, kStore, 4, 4},
    // Queries, keys and values, all of them by rows, in all three kernels.
    {"attention", "head.data[(first + r) * head.stride + c] : 0.0f", kGlobal, kLoad, 4, 4},
    {"attention", "tile[r * kRow<D> + c] =", kShared, kStore, 4, 1},
    {"attention", "head.data[(first + r) * head.stride + c] = tile", kGlobal, kStore, 4, 4},
    // Both factors of every product, and the weights.
    {"attention", "const Vec<float, N>*>(p)", kShared, kLoad, 16, 4},
    {"attention<32", "const Vec<float, N>*>(p)", kShared, kLoad, 8, 2},
    {"attention", "weights[i * kWeightRows", kShared, kStore, 4, 1},
    {"attention_delta", "u.data[", kGlobal, kLoad, 4, 4},
    {"column_partials<1", "src[row * columns + column]", kGlobal, kLoad, 4, 4},
    {"cross_entropy", "z[i]", kGlobal, kLoad, 4, 4},
    {"cross_entropy_backward", "dz[i] =", kGlobal, kStore, 4, 4},
    {"chunk_sums", "x.data[i]", kGlobal, kLoad, 4, 4},
    {"dropout", "x[first + j]", kGlobal, kLoad, 4, 4},
    {"dropout", "y[first + j] =", kGlobal, kStore, 4, 4},
    {"elementwise", "i < n ? x[i] : 0.0f", kGlobal, kLoad, 4, 4},
    {"elementwise", "x[i] = value.v[k]", kGlobal, kStore, 4, 4},
    {"elementwise", "return slots[", kShared, kLoad, 16, 4},
    {"elementwise", "slots[(code", kShared, kStore, 16, 4},
    {"embedding", "token[i]", kGlobal, kLoad, 4, 4},
    {"embedding_backward", "gradient[column", kGlobal, kLoad, 4, 4},
    {"embedding_backward", "+= sum[j]", kGlobal, kStore, 4, 4},
    {"norm", "x[i] - mu", kGlobal, kLoad, 4, 4},
    {"norm", "y[i] =", kGlobal, kStore, 4, 4},
    {"norm_backward", "dy[i] * w[i]", kGlobal, kLoad, 4, 4},
    {"norm_backward", "dx[i] =", kGlobal, kStore, 4, 4},
    {"round_to_bf16", "y[i] = ", kGlobal, kLoad, 4, 4},
    {"round_to_bf16", "y[i] = ", kGlobal, kStore, 2, 2},
};

}  // namespace

TEST_CASE("loads and stores of the kernels are coalesced and free of bank conflicts") {
  const std::vector<simt::LineProfile>& lines = profile_of_everything();
  for (const simt::LineProfile& line : lines) {
    INFO(line.where << ", " << line.kernel << ": " << line.source << "\n"
                    << line.per_request() << (line.shared ? " wavefronts" : " sectors")
                    << " per request of " << line.size << " bytes a thread, at best "
                    << line.ideal_per_request());
    if (is_once_a_block(line)) {
      CHECK(line.per_request() > line.ideal_per_request());  // or it need not be listed
      continue;
    }
    CHECK(line.transactions == line.ideal);
  }
  // What the loops spend their time on, in numbers: a warp asks for 32 neighbours of 4 bytes, or
  // for 8 at a time of 16.
  for (const Hot& hot : kHot) {
    INFO(hot.kernel << ": " << hot.source);
    std::size_t found = 0;
    for (const simt::LineProfile& line : lines) {
      if (!hot.is(line)) continue;
      ++found;
      INFO(line.kernel);
      CHECK(line.per_request() == hot.per_request);
    }
    CHECK(found > 0);
  }
}

TEST_CASE("the profile knows every kernel") {
  std::set<std::string> profiled, defined;
  for (const simt::LineProfile& line : profile_of_everything())
    profiled.insert(line.kernel.substr(0, line.kernel.find('<')));
  const std::regex name(R"(__global__ void\s+__launch_bounds__\([^)]*\)\s+(\w+)\()");
  for (const auto& file : std::filesystem::directory_iterator(MUONLAB_SOURCE_DIR "/cuda")) {
    std::ostringstream text;
    text << std::ifstream(file.path()).rdbuf();
    const std::string source = text.str();
    for (std::sregex_iterator match(source.begin(), source.end(), name), end; match != end; ++match)
      defined.insert((*match)[1]);
  }
  CHECK(defined.size() > 20);
  CHECK(profiled == defined);
}
