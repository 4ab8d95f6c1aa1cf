#include "tests/support/tiny_model.h"

namespace muonlab::test {

GptConfig tiny_config() {
  GptConfig c;
  c.n_layer = 2;
  c.n_head = 4;
  c.n_embd = 16;
  c.block_size = 12;
  c.vocab_size = 19;
  return c;
}

Gpt tiny_model(const GptConfig& config, DType dtype) {
  Gpt model(config, 1, dtype);
  for (Parameter& p : model.parameters()) {
    const double mean = p.info.kind == ParamKind::gain ? 1 : 0;
    const double deviation = p.info.shape.rank() == 2 ? 0.3 : 0.1;
    p.value().copy_from(normal_array(p.info.shape, p.info.name, mean, deviation).tensor(dtype));
  }
  return model;
}

TinyBatch tiny_batch(const GptConfig& config, std::int64_t batch, const std::string& name) {
  const Shape shape{batch, config.block_size};
  return {random_ids(shape, config.vocab_size, name + " ids"),
          random_ids(shape, config.vocab_size, name + " targets")};
}

double forward_backward(const Gpt& model, const TinyBatch& batch, const Forward& forward,
                        double seed) {
  Tape tape;
  Recording recording(tape);
  const Var loss = model.loss(batch.ids, batch.targets, forward);
  tape.backward(loss, seed);
  return loss.value().item();
}

std::vector<NamedTensor> gradients(const Gpt& model) {
  std::vector<NamedTensor> out;
  for (const Parameter& p : model.parameters()) out.push_back({p.info.name, p.grad()});
  return out;
}

}  // namespace muonlab::test
