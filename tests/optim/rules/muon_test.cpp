#include "tests/optim/muon_reference.h"
#include "tests/support/catch.h"

using namespace muonlab;
using namespace muonlab::testing;

namespace {

using Settings = std::map<std::string, std::string>;

Settings with(Settings settings, const Settings& more) {
  for (const auto& [name, value] : more) settings[name] = value;
  return settings;
}

const Settings kSpectral{{"optimizer", "muon"}, {"lr", "0.02"}, {"muon.scale", "spectral"}};
const Settings kDecayed = with(kSpectral, {{"weight_decay", "0.1"}});

/// The weight after one update per gradient.
Matrix run(const Settings& settings, const Matrix& start, const std::vector<Matrix>& gradients,
           DType dtype = DType::f64) {
  std::vector<Parameter> params{parameter(
      {"w", ParamKind::matrix, {start.rows(), start.cols()}, {}, ""}, values_of(start), dtype)};
  Optimizer optimizer(params, configured(settings));
  for (const Matrix& g : gradients) {
    set_grad(params[0], values_of(g));
    optimizer.step();
  }
  return matrix_of(weights(params), start.rows(), start.cols());
}

std::vector<Matrix> gradients(std::int64_t rows, std::int64_t cols, int n, double scale = 1) {
  std::vector<Matrix> all;
  for (int t = 0; t < n; ++t)
    all.push_back(scale * gaussian_matrix(rows, cols, 50 + static_cast<std::uint64_t>(t)));
  return all;
}

double distance(const Matrix& a, const Matrix& b) { return (a - b).cwiseAbs().maxCoeff(); }

Matrix rotation(std::int64_t n, std::uint64_t seed) {
  return on_singular_values(gaussian_matrix(n, n, seed), [](double s) { return 1 / s; });
}

const Values kKeller{.49909733, -.30383198, .79082717, -.09552806, .39188906, -.59710337};
const Values kTorch{.49909699, -.30383173, .79082653, -.09552834, .39188967, -.59710269};
const Values kPlain{.51445340, -.31480673, .80244750, -.10191509, .38907966, -.62484509};
const Values kTransposed{.49956734, -.09465759, -.30509693, .39060447, .78984224, -.59725983};

}  // namespace

// Golden vectors, computed in f64 by the formulas of the codes that the presets are named after.
TEST_CASE("muon's presets take the golden steps") {
  struct Case {
    const char* preset;
    Settings more;
    Values golden;
  };
  const Values moonlight{.49773034, -.30015324, .79369127, -.09805960, .39562501, -.59664813};
  const DType dtype = GENERATE(DType::f64, DType::f32);
  for (const Case& c :
       std::vector<Case>{{"keller", {}, kKeller},
                         {"keller", {{"muon.nesterov", "false"}}, kPlain},
                         {"keller",
                          {{"muon.coefficients", "pe"}},
                          {.49887584, -.30043158, .79800926, -.09861694, .39436385, -.60125471}},
                         {"torch", {}, kTorch},
                         {"moonlight", {}, moonlight},
                         {"keras", {}, moonlight},
                         {"optax",
                          {{"weight_decay", "0"}},
                          {.50081343, -.30470513, .79391859, -.09589807, .39423732, -.60110492}}}) {
    Settings settings = with(kDecayed, {{"muon.preset", c.preset}});
    settings.erase("muon.scale");
    INFO(c.preset);
    CHECK(largest_difference(golden_run(with(settings, c.more), dtype), c.golden) <
          golden_tolerance(dtype));
  }
  Settings keller = with(kDecayed, {{"muon.preset", "keller"}});
  CHECK(largest_difference(golden_run(keller, dtype, true), kTransposed) < golden_tolerance(dtype));
}

TEST_CASE("muon's presets are the columns of their table") {
  const std::string dion =
      "8.156554524902461 -22.48329292557795 15.878769915207462; "
      "4.042929935166739 -2.808917465908714 0.5000178451051316; "
      "3.8916678022926607 -2.772484153217685 0.5060648178503393; "
      "3.285753657755655 -2.3681294933425376 0.46449024233003106; "
      "2.3465413258596377 -1.7097828382687081 0.42323551169305323";
  const std::map<std::string, ReferenceMuon> table{
      {"muonlab", {.kappa = 0.2}},
      {"keller", {.additive_eps = true}},
      {"moonlight", {.additive_eps = true, .sum = true, .kappa = 0.2}},
      {"torch", {}},
      {"optax", {.eps = 1e-8, .additive_eps = true, .corrected = true}},
      {"keras", {.additive_eps = true, .sum = true, .kappa = 0.2}},
      {"dion",
       {.eps = 1e-6,
        .nesterov = false,
        .additive_eps = true,
        .sum = true,
        .full = true,
        .safety = 1.02,
        .steps = coefficients(dion)}},
      {"heavyball", {.momentum = 0.9, .steps = coefficients("you5")}},
      {"v4", {.sum = true, .kappa = 0.18, .steps = coefficients("v4")}}};
  // Gradients so faint that it shows where eps stands.
  const std::pair<int, int> shape = GENERATE(std::pair{6, 10}, std::pair{10, 6});
  const Matrix w0 = gaussian_matrix(shape.first, shape.second, 1);
  const std::vector<Matrix> g = gradients(shape.first, shape.second, 4, 1e-7);
  for (const auto& [preset, reference] : table) {
    ReferenceMuon muon = reference;
    Matrix expected = w0;
    for (const Matrix& x : g) muon.step(expected, x);
    INFO(preset);
    const Matrix w = run({{"optimizer", "muon"}, {"lr", "0.02"}, {"muon.preset", preset}}, w0, g);
    CHECK(distance(w, expected) < 1e-12);
    for (const auto& [other, unlike] : table) {  // and no other column
      if (other == preset || preset == "moonlight" || preset == "keras") continue;  // twins
      ReferenceMuon wrong = unlike;
      Matrix elsewhere = w0;
      for (const Matrix& x : g) wrong.step(elsewhere, x);
      CHECK(distance(w, elsewhere) > 1e-9);
    }
  }
}

TEST_CASE("options of muon win over its preset, and an unknown preset is refused") {
  OptimizerConfig config = configured({{"muon.preset", "v4"}, {"muon.kappa", "0.5"}});
  std::map<std::string, std::string> now;
  for (const Option& o : options(config)) now[o.name] = o.get();
  CHECK(now["muon.kappa"] == "0.5");
  CHECK(now["muon.coefficients"] == "v4");
  CHECK(now["muon.form"] == "sum");
  CHECK_THROWS_AS(configured({{"muon.preset", "kellr"}}), ConfigError);
}

TEST_CASE("muon's sum and mean of the gradients point the same way, a corrected mean does not") {
  const Matrix w0 = gaussian_matrix(16, 24, 1);
  const std::vector<Matrix> g = gradients(16, 24, 3);
  const Matrix mean = run(kSpectral, w0, g);
  CHECK(distance(run(with(kSpectral, {{"muon.form", "sum"}}), w0, g), mean) < 1e-12);
  CHECK(distance(run(with(kSpectral, {{"muon.form", "mean_corrected"}}), w0, g), mean) > 1e-4);
}

TEST_CASE("muon.split decides what is a matrix of its own") {
  const std::vector<Block> blocks{{0, 8, "q", 2}, {8, 12, "k"}, {12, 16, "v"}};
  const Values start = gaussian(16 * 6, 1), g = gaussian(16 * 6, 2);
  const auto updated = [&](const std::string& split, std::vector<Block> of) {
    std::vector<Parameter> params{
        parameter({"qkv", ParamKind::matrix, {16, 6}, std::move(of), ""}, start)};
    Optimizer optimizer(params, configured(with(kSpectral, {{"muon.split", split}})));
    set_grad(params[0], g);
    optimizer.step();
    return weights(params);
  };
  CHECK(same_bits(updated("none", blocks), updated("qkv", {})));
  CHECK(same_bits(updated("qkv", blocks),
                  updated("qkv", {{0, 8, "a"}, {8, 12, "b"}, {12, 16, "c"}})));
  CHECK(same_bits(updated("head", blocks),
                  updated("qkv", {{0, 4, "a"}, {4, 8, "b"}, {8, 12, "c"}, {12, 16, "d"}})));
  CHECK(largest_difference(updated("none", blocks), updated("qkv", blocks)) > 1e-3);
  CHECK(largest_difference(updated("head", blocks), updated("qkv", blocks)) > 1e-3);
}

TEST_CASE("one update of muon moves along the polynomial of the singular values") {
  const std::pair<int, int> shape =
      GENERATE(std::pair{48, 96}, std::pair{96, 48}, std::pair{64, 64});
  const Matrix w0 = gaussian_matrix(shape.first, shape.second, 1);
  const std::vector<Matrix> g = gradients(shape.first, shape.second, 1);
  Matrix expected = w0;
  ReferenceMuon{.lr = 0.1, .kappa = 0.2}.step(expected, g[0]);
  const Settings settings{{"optimizer", "muon"}, {"lr", "0.1"}};
  CHECK(distance(run(settings, w0, g), expected) < 1e-12);
  CHECK(distance(run(settings, w0, g, DType::f32), expected) < 2e-6);  // weights up to 4: 5e-7 each
}

TEST_CASE("muon's mean of the gradients points where a sum points") {
  const Matrix w0 = gaussian_matrix(16, 24, 1);
  const std::vector<Matrix> g = gradients(16, 24, 4);
  Matrix expected = w0;
  ReferenceMuon sum{.sum = true};
  for (const Matrix& x : g) sum.step(expected, x);
  CHECK(distance(run(kSpectral, w0, g), expected) < 1e-12);
}

TEST_CASE("muon's direction descends") {
  const Matrix w0 = Matrix::Zero(32, 64), g = gaussian_matrix(32, 64, 3);
  const Settings settings = with(kSpectral, {{"lr", "1"}, {"muon.momentum", "0"}});
  const Matrix o = -run(settings, w0, {g});
  const Eigen::VectorXd s = singular_values(g);
  REQUIRE(s.minCoeff() / g.norm() > 1.6e-3);  // then every singular value reaches the band
  CHECK(g.cwiseProduct(o).sum() >= 0.68 * s.sum());
}

TEST_CASE("muon is odd, and does not see the scale of the loss") {
  const Matrix w0 = Matrix::Zero(12, 20);
  const std::vector<Matrix> g = gradients(12, 20, 3);
  const Matrix w = run(kSpectral, w0, g);
  CHECK(distance(run(kSpectral, w0, gradients(12, 20, 3, -1)), -w) < 1e-15);
  CHECK(distance(run(kSpectral, w0, gradients(12, 20, 3, 1e3)), w) < 1e-12);
  CHECK(w.norm() > 0.1);
}

TEST_CASE("muon turns with the coordinates, adamw does not") {
  const Matrix w0 = gaussian_matrix(12, 20, 1), q = rotation(12, 2), r = rotation(20, 3);
  const std::vector<Matrix> g = gradients(12, 20, 3);
  std::vector<Matrix> turned;
  for (const Matrix& x : g) turned.push_back(q * x * r);
  const auto gap = [&](const Settings& s) {
    return distance(run(s, q * w0 * r, turned), q * run(s, w0, g) * r);
  };
  CHECK(gap(kDecayed) < 1e-12);
  CHECK(gap({{"optimizer", "adamw"}, {"lr", "0.02"}}) > 0.01);
}

TEST_CASE("the root mean square of muon's update is kappa times the rate, whatever the shape") {
  const std::pair<int, int> shape =
      GENERATE(std::pair{128, 512}, std::pair{512, 128}, std::pair{96, 96}, std::pair{64, 128});
  const Matrix w0 = Matrix::Zero(shape.first, shape.second);
  const Settings settings{{"optimizer", "muon"}, {"lr", "0.5"}};
  const Matrix w = run(settings, w0, gradients(shape.first, shape.second, 1));
  const double rms = w.norm() / std::sqrt(static_cast<double>(w.size()));
  CHECK(rms / (0.5 * 0.2) > 0.82);
  CHECK(rms / (0.5 * 0.2) < 1.05);
}

TEST_CASE("scale spectral at rate kappa sqrt(fan_in) lr is scale rms at rate lr") {
  const std::pair<int, int> shape = GENERATE(std::pair{12, 20}, std::pair{20, 12});
  const Matrix w0 = gaussian_matrix(shape.first, shape.second, 1);
  const std::vector<Matrix> g = gradients(shape.first, shape.second, 3);
  const double rate = 0.2 * std::sqrt(shape.second) * 0.01;
  const Matrix rms = run({{"optimizer", "muon"}, {"lr", "0.01"}}, w0, g);
  CHECK(distance(run(with(kSpectral, {{"lr", to_text(rate)}}), w0, g), rms) < 1e-14);
}

TEST_CASE("decay bounds the spectral norm of a weight that muon trains") {
  // Each update has spectral norm of at most 1.2024 (scale 1 for a wide matrix).
  const Matrix w0 = gaussian_matrix(8, 16, 1) * 10;
  const Settings settings = with(kSpectral, {{"lr", "0.1"}, {"weight_decay", "1"}});
  std::vector<Matrix> g;
  for (int t = 0; t < 100; ++t) g.push_back(gaussian_matrix(8, 16, 2));
  const double end = singular_values(run(settings, w0, g)).maxCoeff();
  CHECK(end <= 1.2024 + 1e-3);
  CHECK(end > 0.6);  // and it is reached: the gradient never changes
}

TEST_CASE("blocks of a fused weight get the bits of separate weights") {
  const DType dtype = GENERATE(DType::f64, DType::f32);
  const Values start = gaussian(40 * 16, 1);
  const std::int64_t bounds[] = {0, 16, 28, 40};  // q (16, 16), k and v (12, 16)
  std::vector<Parameter> fused{parameter(
      {"qkv", ParamKind::matrix, {40, 16}, {{0, 16, "q"}, {16, 28, "k"}, {28, 40, "v"}}, ""}, start,
      dtype)};
  std::vector<Parameter> apart;
  const auto part = [&](const Values& x, int i) {
    return Values(x.begin() + bounds[i] * 16, x.begin() + bounds[i + 1] * 16);
  };
  for (int i = 0; i < 3; ++i)
    apart.push_back(parameter(
        {std::string(1, "qkv"[i]), ParamKind::matrix, {bounds[i + 1] - bounds[i], 16}, {}, ""},
        part(start, i), dtype));
  Optimizer one(fused, configured(kDecayed)), three(apart, configured(kDecayed));
  for (std::uint64_t t = 0; t < 3; ++t) {
    const Values g = gaussian(40 * 16, 60 + t);
    set_grad(fused[0], g);
    for (int i = 0; i < 3; ++i) set_grad(apart[static_cast<std::size_t>(i)], part(g, i));
    one.step();
    three.step();
  }
  CHECK(same_bits(weights(fused), weights(apart)));

  // And not those of one matrix.
  std::vector<Parameter> whole{
      parameter({"qkv", ParamKind::matrix, {40, 16}, {}, ""}, start, dtype)};
  Optimizer coupled(whole, configured(kDecayed));
  set_grad(whole[0], gaussian(40 * 16, 60));
  coupled.step();
  CHECK(largest_difference(weights(whole), start) > 1e-3);
  CHECK(largest_difference(weights(whole), weights(fused)) > 1e-3);
}

TEST_CASE("experts of a stack get the bits of separate weights") {
  std::vector<Parameter> stack{
      parameter({"experts", ParamKind::expert, {3, 6, 4}, {}, ""}, gaussian(72, 1))};
  std::vector<Parameter> apart;
  const auto part = [](const Values& x, int i) {
    return Values(x.begin() + 24 * i, x.begin() + 24 * (i + 1));
  };
  for (int i = 0; i < 3; ++i)
    apart.push_back(parameter({std::to_string(i), ParamKind::expert, {6, 4}, {}, ""},
                              part(gaussian(72, 1), i)));
  Optimizer one(stack, configured(kDecayed)), three(apart, configured(kDecayed));
  set_grad(stack[0], gaussian(72, 2));
  for (int i = 0; i < 3; ++i)
    set_grad(apart[static_cast<std::size_t>(i)], part(gaussian(72, 2), i));
  one.step();
  three.step();
  CHECK(same_bits(weights(stack), weights(apart)));
}

TEST_CASE("options of muon that cannot matter beside others say so") {
  const auto why = [](const Settings& settings, const char* option) {
    return why_unused(configured(with({{"optimizer", "muon"}}, settings)), option);
  };
  CHECK(why({}, "muon.kappa").empty());
  CHECK(why({{"muon.scale", "spectral"}}, "muon.kappa") == "only scale rms has a kappa");
  CHECK(why({}, "muon.ns_steps").empty());
  CHECK(why({{"muon.coefficients", "svd"}}, "muon.ns_steps") == "singular values take no steps");
  CHECK(why({{"muon.coefficients", "svd"}}, "muon.momentum").empty());
}
