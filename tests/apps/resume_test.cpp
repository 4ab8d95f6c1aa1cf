#include <fmt/ranges.h>

#include "tests/apps/program.h"

using namespace muonlab::test;

namespace {

std::size_t metrics_lines(const std::string& folder) {
  return count_of(slurp(folder + "/metrics.csv"), "\n");
}

}  // namespace

TEST_CASE(
    "a run killed at many moments and resumed each time ends with the bits of an uninterrupted "
    "one") {
  const TempFolder folder;
  const Arguments more{"--checkpoint_interval", "7", "--eval_interval", "11", "--dropout", "0.1",
                       "--grad_accum",          "2"};
  const std::string whole = folder / "whole", broken = folder / "broken";
  run_well(train(whole, 400, more));

  // The same command line begins the run and goes on with it.
  const Arguments command = train(broken, 400, more + Arguments{"--resume", broken});
  int kills = 0;
  for (int i = 0; i < 10; ++i) {
    Program program(command);
    const std::string before = slurp(broken + "/metrics.csv");
    // The first is killed at once; the others after they have got somewhere, at different distances
    // from a checkpoint.
    if (i > 0)
      program.wait_until([&] { return slurp(broken + "/metrics.csv").size() > before.size() + 1; });
    std::this_thread::sleep_for(std::chrono::microseconds(700 * i));
    program.send(SIGKILL);
    kills += program.wait().code == 128 + SIGKILL;
  }
  CHECK(kills == 10);
  run_well(command);

  CHECK(weights_of(broken) == weights_of(whole));
  CHECK(weights_of(checkpoint(broken, 399)) == weights_of(checkpoint(whole, 399)));
  CHECK(weights_of(broken + "/checkpoints/best.safetensors") ==
        weights_of(whole + "/checkpoints/best.safetensors"));
  CHECK(metrics_lines(broken) == metrics_lines(whole));
  CHECK(count_of(slurp(broken + "/metrics.jsonl"), "\n") == metrics_lines(whole) - 1);
  CHECK(field(run_well({"info", broken, "--json"}), "val_loss") ==
        field(run_well({"info", whole, "--json"}), "val_loss"));
}

TEST_CASE("the weights do not depend on threads, evaluation, checkpoints or logging") {
  const TempFolder folder;
  const std::string reference = folder / "reference";
  run_well(train(reference, 20, {"--optimizer", "muon"}));
  const std::vector<Arguments> variants{
      {"--threads", "2"},
      {"--threads", "3"},
      {"--eval_interval", "3", "--checkpoint_interval", "2", "--log_interval", "1"},
      {"--eval_interval", "0", "--checkpoint_interval", "0"}};
  for (std::size_t i = 0; i < variants.size(); ++i) {
    const std::string other = folder / std::to_string(i);
    run_well(train(other, 20, Arguments{"--optimizer", "muon"} + variants[i]));
    INFO(fmt::format("{}", fmt::join(variants[i], " ")));
    CHECK(weights_of(other) == weights_of(reference));
  }
  const std::string seeded = folder / "seeded";
  run_well(train(seeded, 20, {"--optimizer", "muon", "--seed", "2"}));
  CHECK(weights_of(seeded) != weights_of(reference));
}

TEST_CASE("Ctrl-C finishes the step, writes a checkpoint, and says how to go on") {
  const TempFolder folder;
  const std::string whole = folder / "whole", stopped = folder / "stopped";
  const Arguments more{"--checkpoint_interval", "0", "--log_interval", "1", "--eval_interval", "0"};
  run_well(train(whole, 300, more));
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    Program program(train(stopped, 300, more + Arguments{"--resume", stopped}));
    const std::size_t before = slurp(stopped + "/metrics.csv").size();
    REQUIRE(
        program.wait_until([&] { return slurp(stopped + "/metrics.csv").size() > before + 100; }));
    program.send(signal);
    const Outcome outcome = program.wait();
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 130);
    // The way a shell reads it back, also where the program lies in a folder with a space.
    const std::string quote = contains(MUONLAB_BINARY, " ") ? "'" : "";
    CHECK(contains(outcome.out,
                   fmt::format("{0}{1}{0} train --resume {2}\n", quote, MUONLAB_BINARY, stopped)));
  }
  run_well({"train", "--resume", stopped});  // as the message says: no other option is needed
  CHECK(weights_of(stopped) == weights_of(whole));
}

TEST_CASE("a signal disturbs no product that is being computed") {
  // With a handler on the computing threads a third of these runs died inside oneDNN.
  for (int i = 0; i < 12; ++i) {
    const TempFolder folder;
    const std::string run_folder = folder / "run";
    Program program({"train", "--preset", "shakespeare-cpu", "--data", "builtin", "--optimizer",
                     "muon", "--quiet", "--threads", "1", "--out", run_folder});
    REQUIRE(program.wait_until([&] { return fs::exists(run_folder + "/config.toml"); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(40 + 23 * i));
    program.send(SIGINT);
    const Outcome outcome = program.wait();
    INFO(outcome.err);
    CHECK(outcome.code == 130);
    CHECK_FALSE(fs::is_empty(run_folder + "/checkpoints"));
  }
}

TEST_CASE("a run is not resumed to a step behind it") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 40, {}));
  const std::string config = slurp(run_folder + "/config.toml");
  const Outcome outcome = Program({"train", "--resume", run_folder, "--steps", "20"}).wait();
  CHECK(outcome.code == 2);
  CHECK(contains(outcome.err, "step 40"));
  CHECK(slurp(run_folder + "/config.toml") == config);
}

TEST_CASE("weights alone are nothing to go on from, and the newest whole checkpoint is named") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 10));
  const std::string best = run_folder + "/checkpoints/best.safetensors";
  const Outcome outcome = run({"train", "--resume", best, "--steps", "12"});
  check_error(outcome, 2, {best + " holds weights alone", "sample, eval and info"});
  CHECK(!contains(outcome.err, "missing"));
  const std::size_t command = outcome.err.rfind("train --resume ");
  REQUIRE(command != std::string::npos);
  const std::string named = outcome.err.substr(command + 15, outcome.err.size() - command - 16);
  run_well({"train", "--resume", named, "--steps", "12"});
  CHECK(field(run_well({"info", run_folder, "--json"}), "step") == "12");
}

TEST_CASE("going on from an older checkpoint says what it removes") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 20, {"--checkpoint_interval", "5", "--log_interval", "4"}));
  REQUIRE(fs::exists(checkpoint(run_folder, 15)));
  // Lines behind step 15: 16 and 20.
  const std::string out = run_well({"train", "--resume", checkpoint(run_folder, 15)});
  CHECK(contains(out, "going on after step 15\n"));
  CHECK(contains(out,
                 "removed what lay behind it: the checkpoint of step 20 and 2 lines of metrics"));
  CHECK(!contains(run_well({"train", "--resume", run_folder, "--steps", "25"}), "removed"));
}

TEST_CASE("a second Ctrl-C ends at once and loses nothing that was saved") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  // A step of many micro-batches, so that the second signal arrives before the first is obeyed.
  Program program(train(run_folder, 1000, {"--grad_accum", "20000"}));
  REQUIRE(program.wait_until([&] { return fs::exists(run_folder + "/config.toml"); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  program.send(SIGINT);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(program.running());
  program.send(SIGINT);
  CHECK(program.wait().code == 130);
  CHECK(fs::is_empty(run_folder + "/checkpoints"));
}

TEST_CASE("a signal that comes twice at once, as from `timeout`, is one interruption") {
  for (int i = 0; i < 5; ++i) {
    const TempFolder folder;
    const std::string run_folder = folder / "run";
    // A step of many micro-batches, so that the second signal arrives before the first is obeyed.
    Program program(train(run_folder, 1000, {"--grad_accum", "2000"}));
    REQUIRE(program.wait_until([&] { return fs::exists(run_folder + "/config.toml"); }));
    program.send(SIGINT);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    program.send(SIGINT);
    const Outcome outcome = program.wait();
    CHECK(outcome.code == 130);
    CHECK(contains(outcome.out, "everything is saved"));
    CHECK(!fs::is_empty(run_folder + "/checkpoints"));
  }
}

TEST_CASE("a finished run takes more steps; its schedule stays as it was") {
  const TempFolder folder;
  const std::string short_run = folder / "short", long_run = folder / "long";
  run_well(train(short_run, 10));
  run_well({"train", "--resume", short_run});  // nothing left to do
  CHECK(field(run_well({"info", short_run, "--json"}), "step") == "10");
  run_well({"train", "--resume", short_run, "--steps", "15"});
  run_well(train(long_run, 15, {"--horizon", "10"}));
  CHECK(weights_of(short_run) == weights_of(long_run));

  const std::string linear = folder / "linear";
  run_well(train(linear, 10, {"--schedule", "linear"}));
  check_error(run({"train", "--resume", linear, "--steps", "15"}), 2, {"--steps 15", "rate is 0"});
}

TEST_CASE("what a run cannot change on the way is refused, all at once") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 4));
  check_error(
      run({"train", "--resume", run_folder, "--n_layer", "3", "--lr", "0.5", "--steps", "6"}), 2,
      {"n_layer is '2' in the run and '3' here", "lr is '0.001' in the run and '0.5' here",
       "--out"});
  check_error(run({"train", "--resume", run_folder, "--preset", "shakespeare-cpu"}), 2, {"preset"});
  check_error(run({"train", "--resume", run_folder, "--out", folder / "other"}), 2, {"--out"});
  check_error(run({"train", "--resume", run_folder, "--force"}), 2, {"--force"});
  check_error(run({"train", "--resume", folder / "nothing"}), 2, {"there is no run in"});
  CHECK(field(run_well({"info", run_folder, "--json"}), "step") == "4");
}

TEST_CASE("a run does not go on with data that have changed") {
  const TempFolder folder;
  const std::string text = folder / "text.txt", run_folder = folder / "run";
  std::string words;
  for (int i = 0; i < 400; ++i) words += fmt::format("word {} ", i);
  spill(text, words);
  run_well(train(run_folder, 4, {"--data", text}));
  words[10] = 'x';
  spill(text, words);
  check_error(run({"train", "--resume", run_folder, "--steps", "6"}), 1,
              {"text.txt", "not what it was"});
  check_error(run({"eval", run_folder}), 1, {"text.txt", "not what it was"});
}

TEST_CASE("a text that becomes shorter under a run ends it with one sentence") {
  const TempFolder folder;
  const std::string text = folder / "text.txt", run_folder = folder / "run";
  std::string words;
  for (int i = 0; i < 20000; ++i) words += fmt::format("word {} ", i);
  spill(text, words);
  Program program(
      train(run_folder, 1000000, {"--data", text, "--checkpoint_interval", "5", "--quiet"}));
  REQUIRE(program.wait_until([&] { return fs::exists(checkpoint(run_folder, 10)); }));
  fs::resize_file(text, 100);
  check_error(program.wait(), 1, {text, "changed while it was in use"});
  run_well({"info", run_folder});
}

TEST_CASE("a damaged checkpoint is named and nothing is lost") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 10, {"--checkpoint_interval", "5"}));
  const std::string newest = checkpoint(run_folder, 10);
  const std::string bytes = slurp(newest);
  const Arguments resume{"train", "--resume", run_folder, "--steps", "12"};

  SECTION("a flipped bit anywhere") {
    for (const std::size_t at : {bytes.size() - 1, bytes.size() / 2}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ 1);
      spill(newest, damaged);
      for (const Arguments& command :
           {resume, Arguments{"sample", run_folder}, Arguments{"info", run_folder},
            Arguments{"eval", run_folder}})
        check_error(run(command), 1, {"step_00000010.safetensors", "checksum"});
    }
  }
  SECTION("a truncated file") {
    for (const std::size_t size :
         {bytes.size() - 1, std::size_t{100}, std::size_t{3}, std::size_t{0}}) {
      spill(newest, bytes.substr(0, size));
      check_error(run(resume), 1,
                  {"step_00000010.safetensors", "train --resume " + checkpoint(run_folder, 5)});
      check_error(run({"sample", run_folder}), 1, {"step_00000010.safetensors"});
    }
  }
  SECTION("another version") {
    std::string other = bytes;
    const std::string key = "\"muonlab_format\":\"";
    const std::size_t at = other.find(key);
    REQUIRE(at != std::string::npos);
    other[at + key.size()] = '9';
    spill(newest, other);
    check_error(run(resume), 1, {"step_00000010.safetensors", "format"});
  }
  // The one before is whole, and can be named.
  CHECK(slurp(newest) != bytes);
  run_well({"train", "--resume", checkpoint(run_folder, 5), "--steps", "12"});
  const std::string fresh = folder / "fresh";
  run_well(train(fresh, 12, {"--horizon", "10", "--checkpoint_interval", "5"}));
  CHECK(weights_of(run_folder) == weights_of(fresh));
}

TEST_CASE("a checkpoint of another model lists everything that is missing, extra or mis-shaped") {
  const TempFolder folder;
  const std::string two = folder / "two", three = folder / "three";
  run_well(train(two, 4));
  run_well(train(three, 4, {"--n_layer", "3", "--n_embd", "32"}));
  fs::copy_file(checkpoint(three, 4), checkpoint(two, 4), fs::copy_options::overwrite_existing);
  check_error(run({"train", "--resume", two, "--steps", "6"}), 1,
              {"blocks.2.attn.qkv.weight", "blocks.2.mlp.proj.weight", "wte.weight", "opt/"});
  fs::copy_file(checkpoint(two, 4), checkpoint(three, 4), fs::copy_options::overwrite_existing);
  CHECK(run({"info", three}).code == 0);  // a checkpoint knows its own model
}

TEST_CASE("a full disk ends the run with exit code 1, and the checkpoint before survives") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", whole = folder / "whole";
  run_well(train(run_folder, 5));
  run_well(train(whole, 40, {"--horizon", "5"}));
  const std::string before = slurp(checkpoint(run_folder, 5));
  Setup setup;
  setup.file_size = before.size() - 1000;
  const Outcome outcome =
      run({"train", "--resume", run_folder, "--steps", "40", "--checkpoint_interval", "20"}, setup);
  check_error(outcome, 1,
              {"step 20", "step_00000020.safetensors", "File too large",
               "checkpoint of step 5 is whole", "train --resume"});
  CHECK(slurp(checkpoint(run_folder, 5)) == before);
  std::size_t files = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(run_folder + "/checkpoints"))
    ++files;
  CHECK(files == 2);  // of step 5, and the best: nothing half written
  run_well({"train", "--resume", run_folder, "--steps", "40"});
  CHECK(weights_of(run_folder) == weights_of(whole));
}

TEST_CASE("the best model so far is kept when later ones are worse, also by a resumed run") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  // A learning rate that rises to 1 spoils what the first steps have learnt.
  run_well(train(run_folder, 30,
                 {"--lr", "1", "--warmup", "60", "--horizon", "60", "--eval_interval", "10"}));
  const auto best = [&] { return run_folder + "/checkpoints/best.safetensors"; };
  const std::string weights = weights_of(best());
  const std::string loss = field(run_well({"info", run_folder, "--json"}), "best_val_loss");
  CHECK(std::stod(loss) < std::stod(field(run_well({"info", run_folder, "--json"}), "val_loss")));
  run_well({"train", "--resume", run_folder, "--steps", "50"});
  CHECK(weights_of(best()) == weights);
  CHECK(field(run_well({"info", run_folder, "--json"}), "best_val_loss") == loss);
}

TEST_CASE(
    "a loss or gradients that are not finite end with exit code 3 and name the last good "
    "checkpoint") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  const Arguments wild{"--optimizer",
                       "sgd",
                       "--lr",
                       "1000",
                       "--grad_clip",
                       "0",
                       "--warmup",
                       "0",
                       "--checkpoint_interval",
                       "1",
                       "--eval_interval",
                       "0"};
  Arguments command;
  std::string problem;
  SECTION("the loss") {
    command = train(run_folder, 100, wild);
    problem = "is not a number";
  }
  SECTION("the gradients, ten times in a row, while checkpoints are due") {
    command = train(run_folder, 100,
                    wild + Arguments{"--n_embd", "32", "--block_size", "32", "--batch", "8"});
    problem = "10 steps in a row were skipped";
  }
  const Outcome outcome = run(command);
  INFO(outcome.err);
  CHECK(outcome.code == 3);
  const std::size_t at = outcome.err.find("the last good checkpoint is " + run_folder);
  REQUIRE(at != std::string::npos);
  for (const std::string part : {problem.c_str(), "of wte.weight", "--lr"})
    CHECK(contains(outcome.err, part));
  const std::size_t begin = outcome.err.find(run_folder, at);
  run_well(
      {"sample", outcome.err.substr(begin, outcome.err.find(' ', begin) - begin), "--tokens", "5"});
}

TEST_CASE("a run goes on with another optimizer only from its weights, and by request") {
  const TempFolder folder;
  const std::string run_folder = folder / "run";
  run_well(train(run_folder, 6));
  const std::string before = weights_of(run_folder), config = slurp(run_folder + "/config.toml");
  const Arguments resume{"train", "--resume", run_folder, "--steps", "8", "--horizon", "6"};
  const auto refused = [&](const Arguments& more, const Arguments& parts) {
    check_error(run(resume + more), 2, parts);
    CHECK(weights_of(run_folder) == before);
    CHECK(slurp(run_folder + "/config.toml") == config);
  };
  refused({"--optimizer", "muon"},
          {"optimizer is 'adamw' in the run and 'muon' here", "--reset_optimizer"});
  refused({"--route", "kind=embedding: sgd"}, {"route is ''", "--reset_optimizer"});
  refused({"--reset_optimizer", "--n_layer", "3"}, {"n_layer is '2' in the run and '3' here"});
  check_error(run({"train", "--reset_optimizer", "--out", folder / "new"}), 2, {"--resume"});

  run_well(resume +
           Arguments{"--optimizer", "muon", "--reset_optimizer", "--route", "kind=embedding: sgd"});
  CHECK(weights_of(run_folder) != before);
  CHECK(contains(slurp(run_folder + "/routes.txt"), "--route kind=embedding"));
  CHECK(contains(run_well({"info", run_folder}), "momentum"));
  // It goes on from there without ado, as if it had not been stopped.
  const std::string copy = folder / "copy";
  fs::copy(run_folder, copy, fs::copy_options::recursive);
  for (const char* steps : {"10", "12"})
    run_well({"train", "--resume", run_folder, "--steps", steps});
  run_well({"train", "--resume", copy, "--steps", "12"});
  CHECK(weights_of(run_folder) == weights_of(copy));
}

TEST_CASE("state of another rule in a checkpoint is listed, and nothing is lost") {
  const TempFolder folder;
  const std::string run_folder = folder / "run", config = run_folder + "/config.toml";
  run_well(train(run_folder, 4));
  std::string text = slurp(config);
  text.replace(text.find("optimizer = \"adamw\""), 19, "optimizer = \"sgd\"");
  spill(config, text);
  const Arguments resume{"train", "--resume", run_folder, "--steps", "6"};
  check_error(
      run(resume), 2,
      {"it has no opt/blocks.0.attn.proj.weight/momentum (16, 16)", "opt/wte.weight/momentum",
       "it has blocks.0.attn.proj.weight/m (16, 16)", " wte.weight/v (", "--reset_optimizer"});
  CHECK(fs::exists(checkpoint(run_folder, 4)));
  run_well(resume + Arguments{"--reset_optimizer"});
}
