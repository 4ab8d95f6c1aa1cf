// Stochastic gradient descent with heavy-ball momentum (Polyak 1964), or Nesterov's in the form of
// Sutskever et al. 2013, "On the importance of initialization and momentum", as PyTorch writes it:
//   b = mu b + g
//   u = b, or g + mu b (Nesterov)
#include "core/math.h"
#include "optim/rule.h"

namespace muonlab {
namespace {

class Sgd final : public Rule {
 public:
  OptionTable options() override {
    return OptionBuilder()
        .number("sgd.momentum", momentum_, {.min = 0, .max = 1, .open_max = true},
                "factor of the running sum of the gradient")
        .boolean("sgd.nesterov", nesterov_, "look ahead along the momentum")
        .table();
  }
  std::vector<std::string> state_names() const override { return {"momentum"}; }

  void direction(const StepInfo&, std::span<Slot> slots) const override {
    for (Slot& s : slots) {
      Tensor& b = s.state[0];
      math::axpby(b, 1, s.g, momentum_);
      if (nesterov_)
        math::add(s.u, 1, s.g, momentum_, b);
      else
        s.u.copy_from(b);
    }
  }

 private:
  double momentum_ = 0.9;
  bool nesterov_ = false;
};

}  // namespace

std::unique_ptr<Rule> make_sgd() { return std::make_unique<Sgd>(); }

}  // namespace muonlab
