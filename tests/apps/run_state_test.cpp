#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/checkpoint.h"
#include "tests/apps/program.h"

using namespace muonlab;
using namespace muonlab::test;

namespace {

/// Writes a checkpoint anew, changed, with a checksum that is right.
void rewrite(
    const std::string& path, const std::function<void(Metadata&)>& metadata,
    const std::function<void(NamedTensor&)>& tensor = [](NamedTensor&) {}) {
  Metadata changed;
  std::vector<NamedTensor> tensors;
  {
    const TensorFile file(path);
    changed = file.metadata();
    for (const TensorFile::Entry& entry : file.entries()) {
      NamedTensor t{entry.name, Tensor::empty(entry.shape, entry.dtype)};
      file.read(t.name, t.tensor);
      tensor(t);
      tensors.push_back(std::move(t));
    }
  }
  metadata(changed);
  write_tensors(path, tensors, changed);
}

/// Sets the first weight of one parameter.
void set_weight(const std::string& path, const std::string& name, float value) {
  rewrite(
      path, [](Metadata&) {},
      [&](NamedTensor& t) {
        if (t.name == name) t.tensor.host<float>()[0] = value;
      });
}

}  // namespace

TEST_CASE("metadata that cannot be true are refused by file and key") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = checkpoint(run_folder, 4);
  run_well(train(run_folder, 4));
  const std::string whole = slurp(path);
  const auto refused = [&](const std::string& key, const std::string& value,
                           const std::string& part) {
    spill(path, whole);
    rewrite(path, [&](Metadata& m) { m[key] = value; });
    INFO(key << " = " << value);
    for (const Arguments& command :
         {Arguments{"info", run_folder}, Arguments{"train", "--resume", run_folder}})
      check_error(run(command), 1, {path, part});
  };
  refused("step", "5", "by its name the checkpoint of step 4, and by its metadata that of step 5");
  refused("updates", "5", "5 updates after 4 steps");
  refused("state_from", "5", "from update 5 on");
  refused("vocab_size", "0", "vocab_size");
  for (const std::string key : {"val_loss", "elapsed_s", "best_val_loss"})
    for (const std::string value : {"nan", "inf", "-1", "1x"}) refused(key, value, key);
  // A copy under a name that says no step is as good.
  spill(path, whole);
  fs::copy_file(path, run_folder + "/checkpoints/copy.safetensors");
  run_well({"info", run_folder + "/checkpoints/copy.safetensors"});
}

TEST_CASE("an error about a checkpoint of another version says so") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = checkpoint(run_folder, 4);
  run_well(train(run_folder, 4));
  const auto change = [&](const std::string& version) {
    rewrite(path, [&](Metadata& m) {
      m["muonlab_version"] = version;
      m["config"] += "new_option = 3\n";
    });
  };
  const std::string about = "written by muonlab";
  change("9.1.0");
  check_error(run({"info", run_folder}), 1,
              {path, "'new_option'", about + " 9.1.0, and this is 0.1.0"});
  change("\x1b[2J");
  const Outcome hostile = run({"info", run_folder});
  check_error(hostile, 1, {about + " ?[2J, and"});
  change("0.1.0");
  const Outcome same = run({"info", run_folder});
  check_error(same, 1, {path, "'new_option'"});
  CHECK(!contains(same.err, about));

  // Going on takes the options from the run folder, so it fails later.
  rewrite(path, [](Metadata& m) {
    m["muonlab_version"] = "9.1.0";
    m.erase("corpus_sha256");
  });
  check_error(run({"train", "--resume", run_folder, "--steps", "6"}), 1,
              {path, "'corpus_sha256'", about + " 9.1.0, and this is 0.1.0"});
}

TEST_CASE("weights that are not finite end eval and sample with exit code 3 and their name") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = checkpoint(run_folder, 4);
  run_well(train(run_folder, 4));
  const auto refused = [&](const Arguments& parts) {
    for (const char* command : {"eval", "sample"})
      check_error(run({command, run_folder}), 3, parts);
  };
  set_weight(path, "blocks.1.mlp.proj.weight", std::numeric_limits<float>::quiet_NaN());
  refused({path, "the weights of blocks.1.mlp.proj.weight are not finite"});
  CHECK(run({"sample", run_folder, "--prompt", "The "}).out.empty());
  run_well({"info", run_folder});  // says what is in it
  set_weight(path, "wte.weight", std::numeric_limits<float>::infinity());
  refused({path, "the weights of wte.weight are not finite"});  // the first in the model's order
  set_weight(path, "blocks.1.mlp.proj.weight", 0);
  // Finite weights whose products are not.
  set_weight(path, "wte.weight", std::numeric_limits<float>::max());
  refused({"not finite, although all weights are"});
}

TEST_CASE("a validation loss that is not finite names the parameter") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", path = checkpoint(run_folder, 4);
  run_well(train(run_folder, 4));
  set_weight(path, "blocks.0.attn.qkv.weight", std::numeric_limits<float>::quiet_NaN());
  rewrite(path, [](Metadata& m) { m.erase("val_loss"); });  // so that only this is left to do
  check_error(run({"train", "--resume", run_folder}), 3,
              {"the validation loss after step 4 is not a number; the weights of "
               "blocks.0.attn.qkv.weight are not finite"});
}
