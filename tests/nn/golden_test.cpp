#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/checkpoint.h"
#include "nn/gpt.h"
#include "optim/optimizer.h"
#include "tests/support/array.h"
#include "tests/support/catch.h"
#include "tests/support/close.h"
#include "tests/support/tiny_model.h"

using namespace muonlab;
using namespace muonlab::test;

// The same model in PyTorch: tests/golden/make_gpt_golden.py, whose numbers are read here. They
// were computed in f64, so f64 here must agree to rounding; f32 must be as near to them as
// PyTorch's own f32, whose distance is in the file.
namespace {

class Golden {
 public:
  explicit Golden(const std::string& stem)
      : file_(std::string(MUONLAB_SOURCE_DIR) + "/tests/golden/" + stem + ".safetensors") {}

  Tensor read(const std::string& name) const {
    for (const TensorFile::Entry& e : file_.entries()) {
      if (e.name != name) continue;
      Tensor t = Tensor::empty(e.shape, e.dtype);
      file_.read(name, t);
      return t;
    }
    FAIL("no " << name << " in the file");
    return {};
  }
  std::string setting(const std::string& key) const { return file_.metadata().at(key); }
  std::set<std::string> names(const std::string& prefix) const {
    std::set<std::string> out;
    for (const TensorFile::Entry& e : file_.entries())
      if (e.name.compare(0, prefix.size(), prefix) == 0) out.insert(e.name.substr(prefix.size()));
    return out;
  }

  GptConfig config() const {
    GptConfig c;
    for (const Option& o : options(c))
      if (file_.metadata().count(o.name)) o.set(setting(o.name));
    c.vocab_size = std::stoll(setting("vocab_size"));
    return c;
  }

  /// rms(got - want) / rms(want) is what rounding in `dtype` explains.
  void check(const std::string& name, const Array& got, DType dtype) const {
    const Array want(read(name));
    REQUIRE(got.shape == want.shape);
    Array difference = got;
    for (std::int64_t i = 0; i < got.numel(); ++i) difference[i] -= want[i];
    const double error = rms(difference) / rms(want);
    INFO(name << " " << name_of(dtype));
    const double torch = std::stod(setting("f32_error/" + name));
    // Rounding in f64 is 2^-29 of that in f32. PyTorch's own error is one sample of a quantity that
    // other orders of summation, or another exponential, draw anew, and of which a few elements
    // decide: AdamW divides by the size of the gradient, so where that is nearly zero its rounding
    // moves the weight by all of a step. Ten times PyTorch's error is 2e-5 at most in f32, and
    // 4e-14 in f64, where even the 1e-6 that is added to the norm when clipping shows.
    const double unit = dtype == DType::f64 ? 0x1p-29 : 1;
    CHECK(error <= 10 * unit * std::max(torch, epsilon(DType::f32)));
  }

 private:
  TensorFile file_;
};

/// The loss does not depend on a key bias, which adds the same to all logits of a row. So its
/// gradient is rounding alone, which AdamW blows up to steps; the stored weights have zeros in its
/// place.
Array without_key_bias(const Parameter& p, const GptConfig& c) {
  Array a(p.value());
  if (p.info.name.find("attn.qkv.bias") == std::string::npos) return a;
  const std::int64_t queries = c.n_head * c.head_size(), keys = c.kv_heads() * c.head_size();
  for (std::int64_t i = queries; i < queries + keys; ++i) a[i] = 0;
  return a;
}

TinyBatch batch_of(const Golden& golden, std::int64_t step) {
  const auto pick = [&](const char* name) {
    const Tensor all = golden.read(name);
    return all.slice(step, step + 1).reshape({all.shape()[1], all.shape()[2]});
  };
  return {pick("ids"), pick("targets")};
}

void compare(const std::string& stem, DType dtype) {
  INFO(stem << " " << name_of(dtype));
  const Golden golden(stem);
  const Gpt model(golden.config(), 1, dtype);
  std::vector<Parameter> params = model.parameters();
  std::set<std::string> names;
  for (Parameter& p : params) {
    names.insert(p.info.name);
    p.value().copy_from(Array(golden.read("weight/" + p.info.name)).tensor(dtype));
  }
  REQUIRE(names == golden.names("weight/"));

  OptimizerConfig c;
  c.optimizer = "adamw";
  c.lr = c.aux_lr = 1e-2;
  c.weight_decay = 0.1;
  c.grad_clip = 1;
  c.schedule.kind = ScheduleKind::constant;
  c.schedule.warmup = 0;
  for (const Option& o : options(c)) {
    if (o.name == "adamw.beta1") o.set("0.9");
    if (o.name == "adamw.beta2") o.set("0.99");
    if (o.name == "adamw.eps") o.set("1e-8");
  }
  Optimizer optimizer(params, std::move(c));

  const Array want_losses(golden.read("losses"));
  Array losses(want_losses.shape), norms(want_losses.shape);
  for (std::int64_t step = 0; step < losses.numel(); ++step) {
    const TinyBatch batch = batch_of(golden, step);
    if (step == 0) golden.check("logits", Array(model.logits(batch.ids, {}).value()), dtype);
    optimizer.zero_grad();
    losses[step] = forward_backward(model, batch);
    if (step == 0)
      for (const Parameter& p : params) golden.check("grad/" + p.info.name, Array(p.grad()), dtype);
    norms[step] = optimizer.step().grad_norm;
  }
  golden.check("losses", losses, dtype);
  golden.check("grad_norms", norms, dtype);
  for (const Parameter& p : params)
    golden.check("after/" + p.info.name, without_key_bias(p, model.config), dtype);
  // The steps are not all alike: some are clipped, some are not.
  CHECK(*std::max_element(norms.values.begin(), norms.values.end()) > 1);
  CHECK(*std::min_element(norms.values.begin(), norms.values.end()) < 1);
}

}  // namespace

TEST_CASE("a GPT without biases computes and trains as in PyTorch", "[golden]") {
  compare("gpt_plain", DType::f64);
  compare("gpt_plain", DType::f32);
}

TEST_CASE("a GPT with biases and grouped heads computes and trains as in PyTorch", "[golden]") {
  compare("gpt_bias", DType::f64);
  compare("gpt_bias", DType::f32);
}
